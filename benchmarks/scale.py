"""What large logs and large catalogues cost, and how that grows: time and memory, and exponents.

    python benchmarks/scale.py --purchases 100000 1000000 10000000 --titles 10000 100000 1000000 \
        --before ../old/src --out benchmarks/results/scale.json

Everything is invented from a seed. Logs have a tenth as many users as purchases and a fifth as many
items, 200,000 at most, whose popularity falls as a power (Pareto): the most popular item is bought
by one user in ten. A title is 6 to 11 of 30,000 words, of which some stand in very many titles, and
a number of its own. Catalogues of a number of titles have a log of 20,000 purchases.

Each measurement is a process of its own on two cores: a command of gloss, or a few lines that call
it. A bundle is a whole `gloss fit` without a language model: the files prepared, BM25 indexed,
transitions of both orders counted. Dense search has random vectors, and fusion random lists of 200
items, three a user. With `--work` some pieces of work are measured, those that they read are done
unmeasured, and `--out` keeps its other runs. Seconds by the clock and of the processor, and the
most memory that was held, are those of the operating system. Where a work does not say that it is
for all users, lists are for the first `--users` of the test set. A process that takes more than
`--limit` processor seconds is ended, and noted without figures; what comes after is measured all
the same, and written after each. An exponent is the slope of a line through the logarithms of size
and processor seconds, or memory: 1 is proportional. The load of the machine is noted, since others
may use it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import invented
from machine import GLOSS, process_cost, processor

CORES = 2
MAX_ITEMS = 200_000
_SMALL_LOG = 20_000

_SIMILARITY = """
import sys
from pathlib import Path
import numpy as np
from gloss.data.dataset import Dataset
from gloss.data.histories import History
from gloss.rankers.ranker import RankRequest
from gloss.rankers.title_similarity import TitleSimilarity, TitleSimilaritySettings
data = Dataset.load(Path(sys.argv[1]))
catalogue = data.catalogue("fair")
vectors = np.random.default_rng(1).standard_normal((len(catalogue), 384), np.float32)
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
ranker = TitleSimilarity(vectors, catalogue, TitleSimilaritySettings())
asked = data.examples("test", limit=int(sys.argv[2]))
ranker.rank(RankRequest([History(e.user, e.history) for e in asked], 20, True))
"""

_DENSE = """
import sys
import numpy as np
from gloss.retrieval.dense.nearest import Exhaustive
random = np.random.default_rng(1)
def unit(rows):
    vectors = random.standard_normal((rows, 384), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
Exhaustive(unit(int(sys.argv[1]))).search(unit(int(sys.argv[2])), 20)
"""

_FUSION = """
import sys
from pathlib import Path
import numpy as np
from gloss.data.dataset import Dataset
from gloss.data.histories import History
from gloss.fusion.log_linear import RULE
from gloss.fusion.rule import FusionRequest
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.table import RankingTable
data = Dataset.load(Path(sys.argv[1]))
asked = data.examples("test", limit=int(sys.argv[2]))
items = np.array(data.item_ids)
random = np.random.default_rng(1)
def ranking(example):
    chosen = dict.fromkeys([example.target, *items[random.integers(len(items), size=200)]])
    scored = zip(chosen, np.sort(random.random(len(chosen)))[::-1].tolist())
    return Ranking(example.user, tuple(RankedItem(item, score) for item, score in scored))
lists = [RankingTable.of([ranking(e) for e in asked]) for _ in range(3)]
histories = [History(e.user, e.history) for e in asked]
bought = dict(zip(items.tolist(), data.times_bought().tolist()))
request = FusionRequest(lists, histories, bought)
RULE.fit(request, [e.target for e in asked]).fuse(request, length=20)
"""

_EXPERIMENT = """\
name: large
data: {source: table, interactions: [LOG], items: [ITEMS]}
rankers: {use: [transitions, second-order-transitions, word-overlap]}
"""

_TRIE = """
import sys
from pathlib import Path
from gloss.data.dataset import Dataset
from gloss.decoding.title_trie import TitleTrie
titles = Dataset.load(Path(sys.argv[1])).catalogue("fair").titles
numbers = [[1 + int(word.lstrip("w")) % 8000 for word in title.split()] for title in titles]
TitleTrie.build(numbers, end=0, vocabulary=8001)
"""


def call_parser() -> argparse.ArgumentParser:
    """How the script is called."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--purchases", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--titles", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--users", type=int, default=2000, help="whom slow rankers rank for")
    parser.add_argument("--limit", type=int, default=240, help="processor seconds a process")
    parser.add_argument("--work", nargs="*", default=None, help="which pieces (default: all)")
    parser.add_argument("--before", type=Path, default=None, help="src of an earlier version")
    parser.add_argument("--folder", type=Path, default=None, help="where the data are made")
    parser.add_argument("--out", type=Path, default=None)
    return parser


def main() -> None:
    """Make logs and catalogues, measure, print, write."""
    args = call_parser().parse_args()
    report: dict[str, Any] = {
        "machine": processor(),
        "cores used": CORES,
        "seed": invented.SEED,
        "users of slow rankers": args.users,
        "limit, processor seconds": args.limit,
        "versions": {name: version(name) for name in ("numpy", "polars", "bm25s")},
        "runs": [],
    }
    if args.work and args.out and args.out.is_file():
        report = json.loads(args.out.read_text())
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for run in _runs(args, Path(folder)):
            report["runs"] = [*(old for old in report["runs"] if not _same(old, run)), run]
            print(json.dumps(run), flush=True)
            report["exponents"] = _exponents(report["runs"])
            if args.out:
                args.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["exponents"], indent=1))


def _runs(args: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    for purchases in args.purchases:
        items = min(MAX_ITEMS, purchases // 5)
        data = _Data(folder / f"log-{purchases}", purchases, items)
        yield from _measured(args, data, "purchases", purchases, _of_logs(data, args.users))
    for titles in args.titles:
        data = _Data(folder / f"titles-{titles}", _SMALL_LOG, titles)
        yield from _measured(args, data, "titles", titles, _of_catalogues(data, args.users))


def _measured(
    args: argparse.Namespace, data: _Data, what: str, size: int, work: dict[str, list[str]]
) -> Iterator[dict[str, Any]]:
    """Every piece of work by each version, with the data that the version prepares."""
    # A process counts as its own what its parent held when it began.
    writing = get_context("spawn").Process(target=data.write)
    writing.start()
    writing.join()
    sources = {"before": args.before} if args.before else {}
    sources["after"] = Path(__file__).resolve().parents[1] / "src"
    wanted = args.work or list(work)
    for name, command in work.items():
        if name not in wanted and not any(name in _READS.get(other, ()) for other in wanted):
            continue
        for which, source in sources.items():  # beside each other: the machine's load is alike
            arguments = [part.replace("{}", which) for part in command]
            cost = process_cost(arguments, source, cores=CORES, limit=args.limit)
            if name in wanted:
                yield {"version": which, "work": name, what: size, **cost}
    data.remove()


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two runs are of the same work by the same version at the same size."""
    names = ("version", "work", "purchases", "titles")
    return all(one.get(name) == other.get(name) for name in names)


class _Data:
    """A log and a catalogue as files, and the folder for what is made of them."""

    def __init__(self, folder: Path, purchases: int, items: int) -> None:
        self.folder, self.purchases, self.items = folder, purchases, items
        self.log, self.titles = folder / "log.parquet", folder / "items.parquet"
        self.experiment = folder / "experiment.yaml"

    def write(self) -> None:
        self.folder.mkdir()
        pl.concat(
            piece.lazy() for piece in invented.purchases(self.purchases, self.items)
        ).sink_parquet(self.log)
        names = [f"i{number}" for number in range(self.items)]
        pl.DataFrame({"item": names, "title": invented.titles(self.items)}).write_parquet(
            self.titles
        )
        text = _EXPERIMENT.replace("LOG", str(self.log)).replace("ITEMS", str(self.titles))
        self.experiment.write_text(text)

    def remove(self) -> None:
        shutil.rmtree(self.folder)


_READS = {
    **dict.fromkeys(
        (
            *("popularity, all users", "transitions", "word overlap", "last-item search"),
            *("BM25 index", "title similarity", "title trie", "fusion"),
        ),
        ("prepare",),
    ),
    "evaluate, all users": ("prepare", "popularity, all users"),
    "BM25 search": ("prepare", "BM25 index"),
}
"""What a piece of work reads, that others have made."""


def _of_logs(data: _Data, users: int) -> dict[str, list[str]]:
    prepared = ["-d", f"{data.folder}/{{}}-data"]
    some = ["--limit-users", str(users)]

    def baseline(name: str, *more: str) -> list[str]:
        return [*GLOSS, "baseline", name, *prepared, *more, "-o", f"{data.folder}/{{}}-{name}"]

    listed = ["-r", f"{data.folder}/{{}}-popularity"]
    return {
        "prepare": _prepare(data),
        "popularity, all users": baseline("popularity"),
        "evaluate, all users": [
            *(*GLOSS, "evaluate", *listed, *prepared, "-o", f"{data.folder}/{{}}-evaluation")
        ],
        "transitions": baseline("transitions", *some),
        "word overlap": baseline("word-overlap", *some),
        "last-item search": baseline("last-item", *some),
        "bundle": [
            *(*GLOSS, "fit", str(data.experiment), "--no-model"),
            *("-o", f"{data.folder}/{{}}-bundle"),
        ],
    }


def _of_catalogues(data: _Data, users: int) -> dict[str, list[str]]:
    prepared, index = f"{data.folder}/{{}}-data", f"{data.folder}/{{}}-index"
    shared = ["-d", prepared, "--limit-users", str(users)]
    return {
        "prepare": _prepare(data),
        "BM25 index": [*GLOSS, "index", "-d", prepared, "-o", index],
        "BM25 search": [
            *(*GLOSS, "baseline", "last-item", *shared, "-i", index),
            *("-o", f"{data.folder}/{{}}-last-item"),
        ],
        "word overlap": [
            *(*GLOSS, "baseline", "word-overlap", *shared),
            *("-o", f"{data.folder}/{{}}-word-overlap"),
        ],
        "title similarity": [sys.executable, "-c", _SIMILARITY, prepared, str(users)],
        "title trie": [sys.executable, "-c", _TRIE, prepared],
        "dense search": [sys.executable, "-c", _DENSE, str(data.items), str(users)],
        "fusion": [sys.executable, "-c", _FUSION, prepared, str(users)],
    }


def _prepare(data: _Data) -> list[str]:
    files = ["--interactions", str(data.log), "--items", str(data.titles)]
    return [*GLOSS, "prepare", "table", *files, "-o", f"{data.folder}/{{}}-data"]


def _exponents(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """How each piece of work grows, where it was finished at two sizes at least."""
    found: dict[str, dict[str, float]] = {}
    for what in ("purchases", "titles"):
        sized = [run for run in runs if what in run and "seconds" in run]
        for version_, work in dict.fromkeys((run["version"], run["work"]) for run in sized):
            same = [run for run in sized if (run["version"], run["work"]) == (version_, work)]
            if len(same) > 1:
                found[f"{work} by {what}, {version_}"] = {
                    of: _slope([run[what] for run in same], [run[of] for run in same])
                    for of in ("processor seconds", "most memory, MiB")
                }
    return found


def _slope(sizes: list[int], values: list[float]) -> float:
    return round(float(np.polyfit(np.log(sizes), np.log(values), 1)[0]), 2)


if __name__ == "__main__":
    main()
