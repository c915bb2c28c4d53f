"""The campaign: everything that may happen to a process, a disk, a file or a text, in thousands.

    make campaign                                        all parts, hours
    PYTHONPATH=src:tests python -m campaign --scale 0.01 --only flips,natives --seed 7

Each part tries its own kind of damage and counts what became of it (`ledger.py`): nothing may be
lost or silently changed, and whatever does not end well ends with one clear line, in time. Prints
the seed, a table, and what is bad with what repeats it; exit code 1 if anything is. What a part
tries is a function of the seed and of how many trials it has: parts that are run one by one with
one seed come together in one file of figures.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from campaign import corpora, faults, flips, fuzz, hostile, kills, natives
from campaign.artefacts import make_all
from campaign.ledger import BAD, Row, table_of
from processes import TINY, Processes

_TRIALS = {
    "kills": 1000,
    "readers": 500,
    "writers": 40,
    "flips": 5000,
    "faults": 500,
    "corpora": 70,
    "configurations": 2000,
    "commands": 2000,
    "hostile": 1,
    "natives": 20_000,
}
"""Trials of each part at scale 1. The hostile artefacts are a list, tried once each."""


def main() -> None:
    """Run the parts, print the table, write it."""
    parser = argparse.ArgumentParser(prog="python -m campaign", description=__doc__)
    parser.add_argument("--seed", type=int, help="Drawn and printed, if none is given.")
    parser.add_argument("--scale", type=float, default=1.0, help="Share of the trials.")
    parser.add_argument("--only", default="", help=f"Parts, with commas: {', '.join(_TRIALS)}.")
    parser.add_argument("--out", type=Path, help="A JSON file for the figures.")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(_TRIALS)
    if unknown := set(names).difference(_TRIALS):
        parser.error(f"no such part: {', '.join(unknown)}")
    seed = random.SystemRandom().randrange(2**32) if args.seed is None else args.seed
    print(f"seed {seed}", flush=True)
    rows = []
    for done, seconds in _all_parts(names, seed, args.scale):
        rows += done
        if args.out:  # after each part: all of them take hours
            document = joined(_before(args.out), _document(done, seconds, seed))
            args.out.write_text(json.dumps(document, indent=1) + "\n")
    print(table_of(rows))
    sys.exit(1 if any(row.bad for row in rows) else 0)


def _all_parts(
    names: Sequence[str], seed: int, scale: float
) -> Iterator[tuple[list[Row], dict[str, float]]]:
    """Run part after part: the rows of each, and its seconds by its name."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        parts = _parts(Path(folder), stack, seed)
        for name in names:
            started = time.monotonic()
            done = parts[name](trials=max(1, round(scale * _TRIALS[name])))
            seconds = round(time.monotonic() - started, 1)
            bad = sum(row.bad for row in done)
            tried = sum(row.tried for row in done)
            print(f"{name}: {tried} tried, {bad} bad, {seconds:.0f} s", flush=True)
            yield done, {name: seconds}


def _parts(folder: Path, stack: ExitStack, seed: int) -> dict[str, Callable[..., list[Row]]]:
    """The parts by name, each in a folder of its own; what several need is made once."""
    homes = {name: folder / name for name in (*_TRIALS, "made")}
    for home in homes.values():
        home.mkdir()
    processes = stack.enter_context(Processes.started(folder))
    made: dict[str, Path] = {}

    def artefacts() -> dict[str, Path]:
        if not made:
            made.update(make_all(processes, homes["made"]))
        return made

    places = {"": homes["kills"] / "out"} | stack.enter_context(kills.volume(homes["kills"]))

    def readers(trials: int) -> list[Row]:
        index = artefacts()["index, lexical"]
        where = {
            name: path.with_name("read") if not name else path for name, path in places.items()
        }
        return kills.change_while_read(processes, index, where, trials=trials)

    def writers(trials: int) -> list[Row]:
        other = homes["writers"] / "other"
        other.mkdir()
        with Processes.started(other) as second:
            home = homes["writers"]
            return [kills.write_twice(processes, second, home, trials=trials, seed=seed)]

    def flipped(trials: int) -> list[Row]:
        home = homes["flips"]
        of_drafts = flips.flip_drafts(processes, home, trials=max(1, trials // 100), seed=seed)
        return [*flips.flip_bits(artefacts(), home, trials=trials, seed=seed), of_drafts]

    def faulty(trials: int) -> list[Row]:
        home = homes["faults"]
        library = faults.compiled(home)
        if library is None:
            print("faults: not tried, there is no C compiler here")
            return []
        config = home / "tiny.yaml"
        config.write_text(TINY)
        with Processes.started(home, preload=library) as bad_system:
            runs = faults.Calls(("run", config), ("run", config, "decoding.beams=3"))
            return faults.inject(bad_system, runs, home, trials=trials, seed=seed)

    return {
        "kills": partial(kills.kill, processes, homes["kills"], places, seed=seed),
        "readers": readers,
        "writers": writers,
        "flips": flipped,
        "faults": faulty,
        "corpora": partial(corpora.run_hostile, processes, homes["corpora"], seed=seed),
        "configurations": partial(fuzz.try_configurations, homes["configurations"], seed=seed),
        "commands": lambda trials: fuzz.try_commands(
            processes, artefacts(), homes["commands"], trials=trials, seed=seed
        ),
        "hostile": lambda trials: hostile.try_all(processes, artefacts(), homes["hostile"]),
        "natives": lambda trials: natives.mutate(
            processes, artefacts(), homes["natives"], trials=trials, seed=seed
        ),
    }


def _document(rows: Sequence[Row], seconds: dict[str, float], seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "tried": sum(row.tried for row in rows),
        "bad": sum(row.bad for row in rows),
        "seconds": seconds,
        "rows": [row.to_json() for row in rows],
    }


def _before(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out.read_bytes()) if out.is_file() else {}
    return found


def joined(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The figures of now, with those that stood there of other parts, if they have one seed."""
    if any(before.get(name) != now[name] for name in ("seed", "python", "machine")):
        return now
    parts = {row["part"] for row in now["rows"]}
    kept = [row for row in before["rows"] if row["part"] not in parts]
    order = list(_TRIALS)
    rows = sorted([*kept, *now["rows"]], key=lambda row: order.index(row["part"]))
    return {
        **now,
        "tried": sum(row["tried"] for row in rows),
        "bad": sum(row.get(name, 0) for row in rows for name in BAD),  # of older files, too
        "seconds": {**before["seconds"], **now["seconds"]},
        "rows": rows,
    }


if __name__ == "__main__":
    main()
