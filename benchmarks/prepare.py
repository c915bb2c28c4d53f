"""How long `gloss prepare` takes for a large log, and how much memory: before and after in one run.

    python benchmarks/prepare.py --purchases 10000000 --before ../old/src --out prepare.json

The log is invented from a seed: a tenth as many users as purchases, a hundred thousand items whose
popularity falls as a power, times in seconds in no order. Each run is a process of its own that may
use two cores; its seconds by the clock and of the processor, and the most memory that it held, are
those of the operating system. The load of the machine is noted, since others may use it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

import invented
from machine import GLOSS, process_cost, processor

CORES = 2
ITEMS = 100_000


def call_parser() -> argparse.ArgumentParser:
    """How the script is called."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--purchases", type=int, nargs="+", default=[10_000_000])
    parser.add_argument("--kind", choices=["csv", "parquet"], default="csv")
    parser.add_argument("--before", type=Path, default=None, help="src of an earlier version")
    parser.add_argument("--folder", type=Path, default=None, help="where the logs are made")
    parser.add_argument("--out", type=Path, default=None)
    return parser


def main() -> None:
    """Make the logs, prepare them, print, write."""
    args = call_parser().parse_args()
    report: dict[str, Any] = {
        "machine": processor(),
        "cores used": CORES,
        "seed": invented.SEED,
        "format": args.kind,
        "versions": {name: version(name) for name in ("polars", "duckdb")},
        "runs": [],
    }
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        items = _items(folder)
        for purchases in args.purchases:
            log = _log(folder, purchases, args.kind)
            for which, source in _versions(args.before):
                made = _measured(source, log, items, folder / f"out-{which}")
                report["runs"].append({"version": which, "purchases": purchases, **made})
                print(json.dumps(report["runs"][-1]), flush=True)
            log.unlink()
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


def _versions(before: Path | None) -> Iterator[tuple[str, Path]]:
    if before is not None:
        yield "before", before.resolve()
    yield "after", Path(__file__).resolve().parents[1] / "src"


def _items(folder: Path) -> Path:
    path = folder / "items.csv"
    numbers = range(ITEMS)
    titles = [f"Title number {n}" for n in numbers]
    pl.DataFrame({"item": [f"i{n}" for n in numbers], "title": titles}).write_csv(path)
    return path


def _log(folder: Path, purchases: int, kind: str) -> Path:
    path = folder / f"log.{kind}"
    if kind == "parquet":
        parts = pl.concat(piece.lazy() for piece in invented.purchases(purchases, ITEMS))
        parts.sink_parquet(path)
        return path
    with path.open("wb") as file:
        for number, piece in enumerate(invented.purchases(purchases, ITEMS)):
            piece.write_csv(file, include_header=number == 0)
    return path


def _measured(source: Path, log: Path, items: Path, out: Path) -> dict[str, Any]:
    files = ["--interactions", str(log), "--items", str(items), "-o", str(out)]
    return process_cost([*GLOSS, "prepare", "table", *files, "--json"], source, cores=CORES)


if __name__ == "__main__":
    main()
