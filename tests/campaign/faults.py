"""Disks and systems that fail: a full one, one that cannot be read, calls that are interrupted.

    python -m campaign --only faults

A small library (faults.c) stands before the system's and lets the n-th write, read, open, fsync or
rename fail. Needs a C compiler. A call may end well or with one line; what stood there before must
stand then, or the new version, whole; and the same call, undisturbed, must end with the bytes of
one that nothing happened to.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from campaign.artefacts import well
from campaign.kills import put, stands
from campaign.ledger import BAD, Row, judged
from processes import Processes, visible_bytes

__all__ = ["FAULTS", "Calls", "compiled", "inject"]

FAULTS = {
    "ENOSPC, from a write on": (1, 400),
    "EIO at a write": (2, 400),
    "EINTR at a write": (3, 400),
    "short write": (4, 400),
    "EMFILE, twenty opens": (5, 500),
    "EIO at an fsync": (6, 40),
    "EIO at a read": (7, 1500),
    "EIO at a rename": (8, 40),
}
"""The number of a fault (faults.c), and among how many calls of a whole run it is drawn."""

_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Calls:
    """A call that makes something, and one that changes what it made, both without -o. share: how
    many calls of the system they take, as a share of those of a whole run."""

    make: tuple[object, ...]
    change: tuple[object, ...]
    share: float = 1.0


def compiled(folder: Path) -> Path | None:
    """The library of faults; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = folder / "faults.so"
    source = Path(__file__).with_name("faults.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library


def inject(
    processes: Processes,
    calls: Calls,
    folder: Path,
    *,
    trials: int,
    seed: int,
    names: Sequence[str] = tuple(FAULTS),
) -> list[Row]:
    """`trials` faults, shared out over their kinds, in calls that make and in calls that change.

    processes: of a server that the library was preloaded into.
    """
    made, changed, out = folder / "made", folder / "changed", folder / "faulty"
    well(processes.gloss(*calls.make, "-o", made))
    shutil.copytree(made, changed)
    well(processes.gloss(*calls.change, "-o", changed))
    old, new = visible_bytes(made), visible_bytes(changed)
    rows = []
    for name in names:
        number, among = FAULTS[name]
        row, rng = Row("faults", name), random.Random(f"{seed} {name}")
        for trial in range(max(1, trials // len(names))):
            start, call, before, after = (
                (made, calls.change, old, new) if trial % 2 else (None, calls.make, {}, old)
            )
            put(start, out)
            fault = number, rng.randint(1, max(1, round(calls.share * among)))
            ended = processes.gloss(*call, "-o", out, fault=fault, limit=_SECONDS)
            outcome = judged(ended)
            if outcome not in BAD and not stands(out, before, after):
                outcome = "lost"
            again = processes.gloss(*call, "-o", out, limit=_SECONDS)
            if outcome not in BAD and (again.code != 0 or visible_bytes(out) != after):
                outcome = "changed"
            row.add(
                outcome,
                f"fault {fault} in {call}: {ended.stderr[-800:]}"
                + (f" then {again.stderr[-800:]}" if again.code else ""),
            )
        rows.append(row)
    return rows
