"""The state of an unfinished training in one file. Needs torch.

It is written beside the file and then renamed over it, so the file always holds one whole state.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Replace the file at `path` by a state of tensors and numbers.

    A process that is killed in between leaves the old file.
    """
    draft = path.with_suffix(".tmp")
    # Through a file of Python's: torch's own writer does not say why it failed (a full disk).
    with draft.open("wb") as file:
        torch.save(dict(state), file)
    draft.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state that was saved, its tensors on the CPU; None if it is missing or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            # torch.load does not compare the checksums that the archive holds.
            if archive.testzip() is not None:
                return None
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception:  # what a damaged file raises depends on where it is damaged
        return None
    return state
