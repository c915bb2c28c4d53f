"""The report's pictures, drawn by matplotlib and returned as SVG elements for an HTML page.

Colours are CSS variables of the page (--page, --ink, --muted, --rule, --ours, --baseline,
--published), so that one picture serves light, dark and print. Every picture has its numbers as
text (<desc>). No global state of matplotlib is changed, and equal input gives equal bytes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from gloss.report.content import Kind, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Curve", "bars", "curves", "keys_of"]

_WIDTH = 400
"""Width of a picture in CSS pixels; on a phone it shrinks by a seventh at most."""

_INK, _MUTED, _RULE, _PAGE = "#000001", "#000002", "#000003", "#000007"
_COLOURS: dict[Kind, str] = {"ours": "#000004", "baseline": "#000005", "published": "#000006"}
_VARIABLES = {
    _INK: "var(--ink)",
    _MUTED: "var(--muted)",
    _RULE: "var(--rule)",
    _PAGE: "var(--page)",
    _COLOURS["ours"]: "var(--ours)",
    _COLOURS["baseline"]: "var(--baseline)",
    _COLOURS["published"]: "var(--published)",
}
"""Colours that matplotlib draws with, and what they become on the page."""

_DASHES: tuple[tuple[float, ...], ...] = (
    (),
    (7, 3),
    (2, 2.5),
    (9, 3, 2, 3),
    (4, 1.5),
    (9, 2, 2, 2, 2, 2),
)
_MARKERS = ("o", "s", "^", "D", "v", "P")
_LETTER_WIDTH = 7.3
"""Pixels of a letter in the widest usual font; labels that are too long are shortened."""

_VALUE_WIDTH = 52
_ROW_HEIGHT = 38
_BAR_HEIGHT = 9


@dataclass(frozen=True, slots=True)
class Curve:
    """A model's line: values and intervals by position on the horizontal axis."""

    label: str
    kind: Kind
    values: Mapping[float, float]
    intervals: Mapping[float, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Style:
    """How a model's curve is drawn."""

    colour: str
    dash: tuple[float, ...]
    marker: str


def bars(
    rows: Sequence[Row],
    metric: str,
    *,
    name: str,
    heading: str,
    top: float,
    width: float = _WIDTH,
) -> str:
    """Horizontal bars of one metric with their intervals, as an SVG element.

    name: prefix of the picture's ids on the page. top: the value of a full bar, so that several
    pictures share a scale. width: in CSS pixels. Rows without the metric are left out.
    """
    shown = [row for row in rows if metric in row.values]
    height = _ROW_HEIGHT * len(shown) + 4
    words = "; ".join(f"{row.label} {row.values[metric]:.4f}" for row in shown)

    def draw(axes: Axes) -> None:
        for place, row in enumerate(shown):
            _draw_bar(axes, row, metric, place * _ROW_HEIGHT, width=width, top=top)

    return _picture(draw, height, name=name, heading=heading, words=words, width=width)


def curves(
    lines: Sequence[Curve],
    ticks: Mapping[float, str],
    *,
    name: str,
    heading: str,
    along: str,
    spoken: str = "",
) -> str:
    """One line for each model, as an SVG element.

    ticks: labels by position on the horizontal axis. along: the axis's name. spoken: what stands
    before a label in the picture's description.
    """
    words = "; ".join(f"{line.label}: {_in_words(line, ticks, spoken)}" for line in lines)

    def draw(axes: Axes) -> None:
        _draw_frame(axes, lines, ticks, along)
        for line, style, shift in zip(lines, _styles(lines), _shifts(lines), strict=True):
            _draw_curve(axes, line, style, shift)

    return _picture(draw, 300, name=name, heading=heading, words=words, plain=False)


def keys_of(lines: Sequence[Curve], *, name: str) -> tuple[str, ...]:
    """A sample of each curve's line and marker, for the row of the curve in a table."""
    return tuple(_key(style, name=f"{name}-{place}") for place, style in enumerate(_styles(lines)))


def _key(style: _Style, *, name: str) -> str:
    def draw(axes: Axes) -> None:
        _line(axes, [2, 32], [6, 6], style, markevery=[])
        _line(axes, [17], [6], style)

    return _picture(draw, 12, name=name, heading="", words="", width=34)


def _draw_bar(axes: Axes, row: Row, metric: str, y: float, *, width: float, top: float) -> None:
    colour = _COLOURS[row.kind]
    value = row.values[metric]
    scale = width / top if top > 0 else 0
    middle = y + 20 + _BAR_HEIGHT / 2
    label = _shortened(row.label, int((width - _VALUE_WIDTH) / _LETTER_WIDTH))
    axes.text(0, y + 14, label, color=_INK, size=13)
    axes.text(width, y + 14, f"{value:.4f}", color=_INK, size=13, ha="right")
    # Hollow for published figures, so that they differ in print too.
    axes.barh(
        [middle],
        [value * scale],
        height=_BAR_HEIGHT,
        facecolor="none" if row.kind == "published" else colour,
        edgecolor=colour,
        linewidth=1.2,
    )
    if metric in row.intervals:
        low, high = (end * scale for end in row.intervals[metric])
        end = min(max(value * scale, low), high)
        # In the page's colour inside the bar and in ink beyond it: visible on every colour.
        axes.plot([low, end], [middle, middle], color=_PAGE, linewidth=2, solid_capstyle="butt")
        axes.plot([end, high], [middle, middle], color=_INK, linewidth=2, solid_capstyle="butt")


def _draw_frame(axes: Axes, lines: Sequence[Curve], ticks: Mapping[float, str], along: str) -> None:
    from matplotlib.ticker import MaxNLocator

    first, last = _ends([place for line in lines for place in line.values])
    margin = 0.04 * (last - first or 1) + max(_shifts(lines), default=0)
    tops = [v for line in lines for v in line.values.values()]
    tops += [high for line in lines for _, high in line.intervals.values()]
    top = max(tops, default=0)
    axes.set_position((0.13, 0.16, 0.81, 0.81))
    axes.set_xlim(first - margin, last + margin)
    axes.set_ylim(0, 1.04 * top if top > 0 else 1)
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(along, color=_MUTED, size=13, labelpad=6)
    axes.tick_params(colors=_RULE, labelcolor=_MUTED, labelsize=13, length=0, pad=6)
    axes.grid(axis="y", color=_RULE, linewidth=1)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_RULE)


def _draw_curve(axes: Axes, line: Curve, style: _Style, shift: float) -> None:
    for place, ends in line.intervals.items():
        axes.plot([place + shift] * 2, ends, color=style.colour, linewidth=1.2, alpha=0.6)
    _line(axes, [place + shift for place in line.values], list(line.values.values()), style)


def _shifts(lines: Sequence[Curve]) -> list[float]:
    """How far each line is moved sideways, so that intervals do not cover each other."""
    if len(lines) < 2 or not any(line.intervals for line in lines):
        return [0.0] * len(lines)
    step = min(0.1, 0.5 / (len(lines) - 1))
    return [step * (place - (len(lines) - 1) / 2) for place in range(len(lines))]


def _line(axes: Axes, x: Sequence[float], y: Sequence[float], style: _Style, **more: Any) -> None:
    axes.plot(
        x,
        y,
        color=style.colour,
        linewidth=2,
        dashes=style.dash or (None, None),
        marker=style.marker,
        markersize=6.5,
        clip_on=False,
        **more,
    )


def _styles(lines: Sequence[Curve]) -> tuple[_Style, ...]:
    """Colour by kind; dash and marker by position among the lines of the kind."""
    styles = []
    met: dict[Kind, int] = {}
    for line in lines:
        place = met.get(line.kind, 0)
        met[line.kind] = place + 1
        at = place % len(_DASHES)
        styles.append(_Style(_COLOURS[line.kind], _DASHES[at], _MARKERS[at]))
    return tuple(styles)


def _ends(places: Sequence[float]) -> tuple[float, float]:
    return min(places, default=0), max(places, default=1)


def _picture(
    draw: Any,
    height: float,
    *,
    name: str,
    heading: str,
    words: str,
    plain: bool = True,
    width: float = _WIDTH,
) -> str:
    """Draw on a canvas of CSS pixels and return the SVG element.

    plain: without axes, y downwards.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Text is drawn by the browser: letters that matplotlib's fonts lack do not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {"svg.fonttype": "none", "svg.hashsalt": name, "text.parse_math": False}
        )
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        figure.patch.set_visible(False)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.patch.set_visible(False)
        if plain:
            axes.set_axis_off()
            axes.set_xlim(0, width)
            axes.set_ylim(height, 0)
        draw(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata=dict.fromkeys(_METADATA))
    return _for_page(file.getvalue(), name=name, heading=heading, words=words)


_METADATA = ("Creator", "Date", "Format", "Type")


def _for_page(svg: str, *, name: str, heading: str, words: str) -> str:
    """Make matplotlib's document an element of the page: its ids, colours and description."""
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for style in [child for child in parent if child.tag.endswith("}style")]:
            parent.remove(style)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {
            key.rpartition("}")[2]: _adapt(value, name) for key, value in element.attrib.items()
        }
        if "id" in element.attrib:
            element.set("id", f"{name}-{element.get('id')}")
    _describe(root, name, heading, words)
    return ElementTree.tostring(root, encoding="unicode")


def _describe(root: ElementTree.Element, name: str, heading: str, words: str) -> None:
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    if not heading:
        root.set("aria-hidden", "true")
        return
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-desc")
    description = ElementTree.Element("desc", {"id": f"{name}-desc"})
    description.text = _printable(words)
    title = ElementTree.Element("title", {"id": f"{name}-title"})
    title.text = _printable(heading)
    root[:0] = [title, description]


def _adapt(value: str, name: str) -> str:
    for colour, variable in _VARIABLES.items():
        value = value.replace(colour, variable)
    if value.startswith("#"):
        return f"#{name}-{value[1:]}"
    return value.replace("url(#", f"url(#{name}-")


def _in_words(line: Curve, ticks: Mapping[float, str], spoken: str) -> str:
    return ", ".join(
        f"{spoken}{ticks[place]} {value:.4f}"
        for place, value in line.values.items()
        if place in ticks
    )


def _shortened(text: str, letters: int) -> str:
    """The text without its middle where it is too long; names often differ at their ends."""
    text = _printable(text)
    if len(text) <= letters:
        return text
    head = text[: letters // 2].rpartition(" ")[0] or text[: letters // 3]
    rest = text[len(head) + 3 - letters :]
    return f"{head} … {rest.partition(' ')[2] or rest}"


def _printable(text: str) -> str:
    """The text on one line, without characters that XML cannot hold."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
