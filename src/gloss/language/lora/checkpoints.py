"""The trainer's checkpoints as something that a killed run can go on from.

A checkpoint counts once a mark says that it was written to its end; older ones are removed only
after that. The best by validation loss is always kept.

Knows folders named checkpoint-STEP; knows nothing of what is in them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["best_step", "checkpoint_of", "history_of", "is_done", "keep_only", "latest", "mark"]

_MARK = "whole"


def checkpoint_of(folder: Path, step: int) -> Path:
    """Where the trainer saves a step."""
    return folder / f"checkpoint-{step}"


def latest(folder: Path) -> Path | None:
    """The last whole checkpoint; None if there is none."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{_MARK}")]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def mark(checkpoint: Path) -> None:
    """Say that a checkpoint was written to its end."""
    (checkpoint / _MARK).touch()


def keep_only(folder: Path, steps: Sequence[int]) -> None:
    """Remove every checkpoint of other steps, and what was not written to its end."""
    kept = {checkpoint_of(folder, step) for step in steps}
    for path in folder.glob("checkpoint-*"):
        if path not in kept or not (path / _MARK).is_file():
            shutil.rmtree(path)


def history_of(checkpoint: Path) -> list[dict[str, Any]]:
    """What the trainer had logged when it saved."""
    state: dict[str, Any] = json.loads((checkpoint / "trainer_state.json").read_bytes())
    history: list[dict[str, Any]] = state["log_history"]
    return history


def best_step(history: Sequence[dict[str, Any]]) -> int | None:
    """The step of the lowest validation loss, the first of equals; None if none was measured."""
    measured = [row for row in history if "eval_loss" in row]
    return min(measured, key=lambda row: row["eval_loss"])["step"] if measured else None


def is_done(history: Sequence[dict[str, Any]], *, patience: int, epochs: int) -> bool:
    """Whether all epochs were validated, or none of the last `patience` was the best so far."""
    steps = [row["step"] for row in history if "eval_loss" in row]
    if not steps:
        return False
    since = len(steps) - 1 - steps.index(best_step(history))
    return since >= patience or len(steps) >= epochs
