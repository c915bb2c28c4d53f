"""Draws the pictures of the concepts, the architecture poster and the curves of what sizes cost
(benchmarks/results/scale.json); with --check, compares them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import ceil, floor, hypot, log10
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "images"
SCALE = Path(__file__).parents[1] / "benchmarks" / "results" / "scale.json"
BLUE, AMBER, GREY, LIGHT, INK = "#1b5c9e", "#b8651b", "#8a8a85", "#eef3f8", "#1d1d1b"
FONT = "font-family='system-ui, Segoe UI, DejaVu Sans, sans-serif'"


class Canvas:
    """Boxes, arrows and text, collected as SVG."""

    def __init__(self, width: int, height: int, about: str) -> None:
        self.parts = [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' "
            f"width='{width}' height='{height}' role='img' aria-label='{escape(about)}' {FONT}>",
            f"<title>{escape(about)}</title>",
            f"<rect width='{width}' height='{height}' rx='8' fill='#fdfdfb'/>",
        ]

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: int = 13,
        fill: str = INK,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        weight = " font-weight='600'" if bold else ""
        self.parts.append(
            f"<text x='{x:g}' y='{y:g}' font-size='{size}' fill='{fill}' "
            f"text-anchor='{anchor}'{weight}>{escape(words)}</text>"
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *lines: str,
        fill: str = LIGHT,
        stroke: str = BLUE,
        ink: str = INK,
        size: int = 13,
    ) -> None:
        """A rectangle; its first line is bold if there are several."""
        self.parts.append(
            f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' rx='6' "
            f"fill='{fill}' stroke='{stroke}'/>"
        )
        step = size * 1.35
        top = y + height / 2 - step * (len(lines) - 1) / 2 + size * 0.36
        for number, line in enumerate(lines):
            bold = number == 0 and len(lines) > 1
            middle = x + width / 2
            self.text(
                middle, top + step * number, line, size=size, fill=ink, anchor="middle", bold=bold
            )

    def dot(self, x: float, y: float, fill: str, label: str = "") -> None:
        self.parts.append(f"<circle cx='{x:g}' cy='{y:g}' r='11' fill='{fill}'/>")
        self.text(x, y + 4, label, size=11, fill="#ffffff", anchor="middle")

    def arrow(self, x1: float, y1: float, x2: float, y2: float, *, stroke: str = GREY) -> None:
        """A line with a head at its second end."""
        length = hypot(x2 - x1, y2 - y1)
        u, v = (x2 - x1) / length, (y2 - y1) / length
        x3, y3 = x2 - 8 * u, y2 - 8 * v
        head = (
            f"{x2:.1f},{y2:.1f} {x3 - 4 * v:.1f},{y3 + 4 * u:.1f} {x3 + 4 * v:.1f},{y3 - 4 * u:.1f}"
        )
        self.parts.append(
            f"<line x1='{x1:g}' y1='{y1:g}' x2='{x2:g}' y2='{y2:g}' stroke='{stroke}' "
            f"stroke-width='1.5'/><polygon points='{head}' fill='{stroke}'/>"
        )

    def curve(self, points: Sequence[tuple[float, float]], stroke: str) -> None:
        """A line through points, with a dot at each."""
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(
            f"<polyline points='{line}' fill='none' stroke='{stroke}' stroke-width='2'/>"
        )
        self.parts += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{stroke}'/>"
                       for x, y in points]  # fmt: skip

    def svg(self) -> str:
        return "\n".join([*self.parts, "</svg>\n"])


def data() -> Canvas:
    c = Canvas(720, 210, "A table of purchases and a catalogue become one history a user")
    c.text(20, 28, "purchases", bold=True)
    for row, line in enumerate(("Ann   A7   Monday", "Ben   C2   Monday", "Ann   B4   Friday")):
        c.box(20, 40 + 32 * row, 180, 28, line)
    c.text(20, 160, "catalogue: A7 = Red kite, B4 = Kite string …", size=12, fill=GREY)
    c.arrow(210, 85, 268, 85)
    c.box(276, 62, 140, 46, "gloss prepare", "order, clean, split", fill=BLUE, ink="#ffffff")
    c.arrow(424, 85, 482, 85)
    c.text(490, 28, "histories", bold=True)
    c.box(490, 40, 210, 36, "Ann: Red kite, Kite string")
    c.box(490, 88, 210, 36, "Ben: Tea pot")
    c.text(490, 160, "each title stored as it came", size=12, fill=GREY)
    return c


def splits() -> Canvas:
    c = Canvas(720, 250, "Which purchases train, validate and test in the two splits")
    rows = (
        ("paper: 19 users of 20", "tttttx"),
        ("paper: 1 user of 20", "ttttvx"),
        ("leave-one-out: everybody", "ttttvx"),
    )
    colours = {"t": GREY, "v": AMBER, "x": BLUE}
    c.text(230, 30, "purchases in order of time", size=12, fill=GREY)
    c.arrow(400, 26, 470, 26)
    for row, (name, kinds) in enumerate(rows):
        y = 66 + 46 * row
        c.text(20, y + 4, name)
        for place, kind in enumerate(kinds):
            c.dot(240 + 44 * place, y, colours[kind], str(place + 1))
    for x, colour, name in (
        (20, GREY, "trained on"),
        (160, AMBER, "validation target"),
        (330, BLUE, "test target: what has to be predicted"),
    ):
        c.dot(x + 12, 216, colour)
        c.text(x + 30, 220, name)
    return c


def protocols() -> Canvas:
    c = Canvas(720, 240, "PAPER keeps items bought already in the list, FAIR removes them")
    c.text(20, 30, "bought: Red kite, Kite string", bold=True)
    c.text(20, 52, "next, to be predicted: Kite bag", fill=BLUE)
    lists = (
        (300, "PAPER", ("1  Red kite", "2  Kite bag", "3  Kite string", "4  Blue kite")),
        (510, "FAIR", ("1  Kite bag", "2  Blue kite", "3  Wind vane", "4  Swing")),
    )
    for x, name, items in lists:
        c.text(x, 30, name, bold=True)
        for row, item in enumerate(items):
            is_target, is_bought = "bag" in item, item.endswith(("Red kite", "string"))
            fill = BLUE if is_target else LIGHT
            ink = "#ffffff" if is_target else AMBER if is_bought else INK
            c.box(x, 44 + 36 * row, 180, 30, item, fill=fill, ink=ink)
    c.text(300, 216, "bought items take places", size=12, fill=GREY)
    c.text(510, 216, "bought items are left out", size=12, fill=GREY)
    c.text(20, 216, "the same user, the same model", size=12, fill=GREY)
    return c


def language_model() -> Canvas:
    c = Canvas(720, 190, "A history as text goes into a language model, titles come out")
    c.box(20, 40, 190, 96, "prompt", "Red kite", "Kite string", "…")
    c.arrow(218, 88, 268, 88)
    c.box(276, 48, 170, 80, "language model", "from zero, or a", "pretrained Llama", fill=BLUE,
          ink="#ffffff")  # fmt: skip
    c.arrow(454, 88, 504, 88)
    for row, (title, share) in enumerate((("Kite bag", "0.21"), ("Blue kite", "0.12"),
                                          ("Wind vane", "0.05"))):  # fmt: skip
        c.box(512, 36 + 38 * row, 188, 30, f"{title}   p = {share}")
    c.text(20, 170, "what was bought, earliest first", size=12, fill=GREY)
    c.text(512, 170, "generated titles, likeliest first", size=12, fill=GREY)
    return c


def decoding() -> Canvas:
    c = Canvas(720, 260, "Beams walk down the trie of all titles of the catalogue")
    c.box(20, 108, 90, 32, "(start)")
    level = ((150, 40, "Kite", True), (150, 108, "Red", True), (150, 176, "Tea", False))
    for x, y, word, kept in level:
        c.arrow(112, 124, x - 4, y + 16, stroke=BLUE if kept else GREY)
        c.box(x, y, 90, 32, word, stroke=BLUE if kept else GREY, ink=INK if kept else GREY)
    ends = (
        (300, 16, "bag", 40, True),
        (300, 64, "string", 40, False),
        (300, 124, "kite", 108, True),
        (300, 176, "pot", 176, False),
    )
    for x, y, word, parent, kept in ends:
        c.arrow(242, parent + 16, x - 4, y + 16, stroke=BLUE if kept else GREY)
        c.box(x, y, 90, 32, word, stroke=BLUE if kept else GREY, ink=INK if kept else GREY)
    c.text(440, 36, "“Kite bag”: p = 0.6 × 0.35 = 0.21", fill=BLUE)
    c.text(440, 144, "“Red kite”: p = 0.3 × 0.8 = 0.24", fill=BLUE)
    c.text(440, 90, "two beams: at each step the two", size=12, fill=GREY)
    c.text(440, 106, "likeliest beginnings are kept", size=12, fill=GREY)
    c.text(20, 244, "Only branches that some title takes exist, so every beam ends in a title of "
           "the catalogue.", size=12, fill=GREY)  # fmt: skip
    return c


def retrieval() -> Canvas:
    c = Canvas(720, 190, "Each generated title is searched in an index of the catalogue")
    c.box(20, 52, 160, 40, "“kite carry bag”")
    c.text(20, 40, "generated title", size=12, fill=GREY)
    for y, name, what in ((28, "BM25", "same words"), (96, "dense", "same meaning")):
        c.arrow(186, 72, 246, y + 24)
        c.box(254, y, 150, 48, name, what, fill=BLUE, ink="#ffffff")
        c.arrow(410, y + 24, 470, 72)
    c.text(490, 40, "items, best first", size=12, fill=GREY)
    for row, item in enumerate(("K9  Kite bag", "B3  Carry bag, small", "A7  Red kite")):
        c.box(490, 50 + 36 * row, 210, 30, item)
    c.text(20, 176, "hybrid: both lists, joined", size=12, fill=GREY)
    return c


def rankers() -> Canvas:
    c = Canvas(720, 250, "Every ranker gives a list of its own for the same history")
    c.box(20, 96, 150, 52, "history", "…, Kite string")
    names = (
        ("language model", "writes titles"),
        ("transitions", "bought right after"),
        ("title similarity", "sounds alike"),
        ("dual encoder", "learned vectors"),
        ("SASRec", "attention over ids"),
    )
    for row, (name, what) in enumerate(names):
        y = 12 + 46 * row
        c.arrow(176, 122, 252, y + 20)
        c.box(260, y, 190, 40, name, what, size=12, fill=BLUE if row == 0 else LIGHT,
              ink="#ffffff" if row == 0 else INK)  # fmt: skip
        c.arrow(456, y + 20, 500, y + 20)
        for place in range(5):
            fill = BLUE if (row * 3 + place * 2) % 5 == 0 else LIGHT
            c.box(508 + 38 * place, y + 6, 32, 28, str(place + 1), fill=fill,
                  ink="#ffffff" if fill == BLUE else INK, size=11)  # fmt: skip
    return c


def fusion() -> Canvas:
    c = Canvas(720, 220, "Several lists and what each is worth become one list")
    lists = (("language model", "B A D"), ("transitions", "A C B"), ("word overlap", "A D E"))
    for row, (name, items) in enumerate(lists):
        y = 20 + 52 * row
        c.text(20, y + 22, name)
        for place, item in enumerate(items.split()):
            c.box(150 + 42 * place, y, 36, 34, item)
        c.arrow(282, y + 17, 340, 88)
    c.box(348, 56, 170, 64, "fusion", "weights or trees,", "fitted on validation", fill=BLUE,
          ink="#ffffff", size=12)  # fmt: skip
    c.arrow(524, 88, 570, 88)
    for place, item in enumerate("ABD"):
        c.box(578 + 42 * place, 71, 36, 34, item, fill=BLUE, ink="#ffffff")
    c.text(20, 200, "A is first: two rankers have it at rank 1, and the third at rank 2. Its "
           "reason is kept for the person who sees it.", size=12, fill=GREY)  # fmt: skip
    return c


def bundle() -> Canvas:
    c = Canvas(720, 190, "A run measures; a bundle holds its parts and answers")
    c.box(20, 56, 150, 56, "run", "held back, measured")
    c.arrow(178, 84, 238, 84)
    c.text(208, 74, "gloss bundle", size=11, fill=GREY, anchor="middle")
    c.box(246, 28, 220, 112, "bundle", "language model · index", "rankers · fusion", "catalogue",
          "no purchases", fill=BLUE, ink="#ffffff")  # fmt: skip
    c.arrow(474, 84, 524, 84)
    c.box(532, 56, 168, 56, "answer", "items, reasons, way")
    c.text(246, 168, "in: histories, and if you like rules and a wish", size=12, fill=GREY)
    return c


def architecture() -> Canvas:
    c = Canvas(1000, 620, "From purchases to a measured recommender: the parts of GLoSS")
    c.text(40, 50, "GLoSS", size=30, bold=True)
    c.text(160, 50, "one direction, an artefact after every stage", size=16, fill=GREY)
    c.box(40, 90, 190, 70, "purchases, catalogue", "CSV, Parquet, databases …", stroke=GREY)
    c.arrow(135, 160, 135, 196)
    c.box(40, 200, 190, 70, "data/", "histories, splits", size=14)
    c.arrow(135, 270, 135, 306)
    c.box(40, 310, 190, 70, "prompts.py", "a history as text", size=14)
    c.arrow(230, 345, 276, 345)
    c.box(280, 310, 190, 70, "language/", "from zero, or LoRA", size=14)
    c.arrow(470, 345, 516, 345)
    c.box(520, 310, 190, 70, "decoding/", "tree attention, title trie", size=14)
    c.arrow(710, 345, 756, 345)
    c.box(760, 310, 200, 70, "retrieval/", "BM25, dense, hybrid", size=14)
    c.arrow(230, 235, 276, 235)
    c.box(280, 200, 430, 70, "rankers/", "transitions · similarity · overlap · dual encoder · "
          "SASRec", size=14)  # fmt: skip
    c.arrow(710, 235, 756, 235)
    c.arrow(860, 306, 860, 274)
    c.box(760, 200, 200, 70, "fusion/", "weights, trees or ranks", fill=BLUE, ink="#ffffff",
          size=14)  # fmt: skip
    c.arrow(860, 196, 860, 164)
    c.box(760, 90, 200, 70, "rankings", "items, scores, reasons", fill=BLUE, ink="#ffffff",
          size=14)  # fmt: skip
    c.arrow(756, 125, 714, 125)
    c.box(520, 90, 190, 70, "evaluation/", "metrics, intervals, tests", size=14)
    c.arrow(516, 125, 474, 125)
    c.box(280, 90, 190, 70, "report/", "one page, CSV, LaTeX", size=14)
    c.box(40, 420, 920, 56, "experiment/", "a YAML file: stages in order, each skipped if its "
          "artefact stands", size=14)  # fmt: skip
    c.box(
        40, 486, 455, 56, "recommender/", "the bundle: histories in, items and reasons out", size=14
    )
    c.box(505, 486, 455, 56, "cli/", "gloss prepare · train · generate · rank · fuse · …", size=14)
    c.box(40, 552, 920, 46, "arrays · artifacts · config · errors · progress: under everything",
          stroke=GREY, size=13)  # fmt: skip
    return c


_CURVES = ("#1b5c9e", "#b8651b", "#2f7d4f", "#8a2f6b", "#5b5b57", "#b3261e", "#3f7f8f", "#8a7a1b")
_SECONDS, _MEMORY = "processor seconds", "most memory, MiB"


class _Panel:
    """Logarithmic axes for one measure by one size; each curve is named in the legend below."""

    def __init__(self, canvas: Canvas, x: float, sizes: Sequence[int], values: Sequence[float]):
        self._canvas, self._x = canvas, x
        self._sizes = [log10(size) for size in (min(sizes), max(sizes))]
        self._values = [floor(log10(min(values))), ceil(log10(max(values)))]

    def at(self, size: float, value: float) -> tuple[float, float]:
        (first, last), (low, high) = self._sizes, self._values
        right = (log10(size) - first) / (last - first)
        up = (log10(value) - low) / (high - low)
        return self._x + 250 * right, 250 - 190 * up

    def axes(self, sizes: Sequence[int], title: str, below: str) -> None:
        c = self._canvas
        c.text(self._x - 10, 34, title, bold=True)
        for power in range(self._values[0], self._values[1] + 1):
            (x, y), (end, _) = self.at(min(sizes), 10**power), self.at(max(sizes), 10**power)
            c.parts.append(
                f"<line x1='{x:g}' y1='{y:g}' x2='{end:g}' y2='{y:g}' stroke='#dddddd'/>"
            )
            c.text(x - 6, y + 4, f"{10**power:,g}", size=11, fill=GREY, anchor="end")
        for size in sizes:
            c.text(self.at(size, 10 ** self._values[0])[0], 268, f"{size:,}", size=11, fill=GREY,
                   anchor="middle")  # fmt: skip
        c.text(self._x + 125, 285, below, size=12, fill=GREY, anchor="middle")


def _scale(by: str) -> Canvas:
    """What a size costs: processor seconds and memory, a curve for each piece of work."""
    report = json.loads(SCALE.read_text("utf-8"))
    runs: list[Mapping[str, Any]] = [
        run for run in report["runs"] if by in run and run["version"] == "after" and _SECONDS in run
    ]
    works = list(dict.fromkeys(run["work"] for run in runs))
    sizes = sorted({run[by] for run in runs})
    rows = -(-len(works) // 2)
    c = Canvas(720, 310 + 20 * rows, f"Processor seconds and memory by the number of {by}")
    for x, measure in ((70, _SECONDS), (425, _MEMORY)):
        panel = _Panel(c, x, sizes, [run[measure] for run in runs])
        panel.axes(sizes, measure, by)
        for colour, work in zip(_CURVES, works, strict=False):
            of_work = sorted((run[by], run[measure]) for run in runs if run["work"] == work)
            c.curve([panel.at(*point) for point in of_work], colour)
    for number, (colour, work) in enumerate(zip(_CURVES, works, strict=False)):
        x, y = 30 + 345 * (number % 2), 312 + 20 * (number // 2)
        slopes = report["exponents"].get(f"{work} by {by}, after")
        grows = f": {slopes[_SECONDS]:.2f} / {slopes[_MEMORY]:.2f}" if slopes else ""
        c.parts.append(f"<circle cx='{x}' cy='{y - 4}' r='4' fill='{colour}'/>")
        c.text(x + 10, y, work + grows, size=12)
    return c


def scale_of_logs() -> Canvas:
    return _scale("purchases")


def scale_of_catalogues() -> Canvas:
    return _scale("titles")


PICTURES: dict[str, Callable[[], Canvas]] = {
    "data": data,
    "splits": splits,
    "protocols": protocols,
    "language-model": language_model,
    "decoding": decoding,
    "retrieval": retrieval,
    "rankers": rankers,
    "fusion": fusion,
    "bundle": bundle,
    "architecture": architecture,
    "scale-of-logs": scale_of_logs,
    "scale-of-catalogues": scale_of_catalogues,
}


def main() -> None:
    """Draw every picture, or compare it."""
    for name, draw in PICTURES.items():
        path, svg = FOLDER / f"{name}.svg", draw().svg()
        if "--check" not in sys.argv:
            path.write_text(svg, "utf-8")
        elif not path.is_file() or path.read_text("utf-8") != svg:
            sys.exit(f"docs/images/{name}.svg is not what docs/make_pictures.py draws: `make docs`")


if __name__ == "__main__":
    main()
