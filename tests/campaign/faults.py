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
from pathlib import Path

from campaign.artefacts import well
from campaign.kills import put, stands
from campaign.ledger import BAD, Row, judged
from processes import Processes, visible_bytes

__all__ = ["FAULTS", "compiled", "inject"]

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
"""The number of a fault (faults.c), and among how many calls it is drawn."""

_SECONDS = 60.0


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
    config: Path,
    folder: Path,
    *,
    trials: int,
    seed: int,
    names: Sequence[str] = tuple(FAULTS),
) -> list[Row]:
    """`trials` faults, shared out over their kinds, in whole runs and in changes of one.

    processes: of a server that the library was preloaded into.
    """
    run, changed, out = folder / "run", folder / "changed", folder / "faulty"
    fewer = ("run", config, "decoding.beams=3")
    well(processes.gloss("run", config, "-o", run))
    shutil.copytree(run, changed)
    well(processes.gloss(*fewer, "-o", changed))
    old, new = visible_bytes(run), visible_bytes(changed)
    rows = []
    for name in names:
        number, among = FAULTS[name]
        row, rng = Row("faults", name), random.Random(f"{seed} {name}")
        for trial in range(max(1, trials // len(names))):
            start, call, before, after = (
                (run, fewer, old, new) if trial % 2 else (None, ("run", config), {}, old)
            )
            put(start, out)
            fault = number, rng.randint(1, among)
            ended = processes.gloss(*call, "-o", out, fault=fault, limit=_SECONDS)
            outcome = judged(ended)
            if outcome not in BAD and not stands(out, before, after):
                outcome = "lost"
            again = processes.gloss(*call, "-o", out, limit=_SECONDS)
            if outcome not in BAD and (again.code != 0 or visible_bytes(out) != after):
                outcome = "changed"
            row.add(
                outcome,
                f"fault {fault} in {call[2:] or call[0]}: {ended.stderr[-800:]}"
                + (f" then {again.stderr[-800:]}" if again.code else ""),
            )
        rows.append(row)
    return rows
