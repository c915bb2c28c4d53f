"""The state of an unfinished training on disk: written whole, and read only if it still is.

Knows tensors and numbers; nothing of what they are the state of. Needs torch.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and numbers in place of what is there; killed on the way, that stays."""
    draft = path.with_suffix(".tmp")
    # Through a file of Python's: torch's own writer does not say why it failed.
    with draft.open("wb") as file:
        torch.save(dict(state), file)
    draft.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """What was saved, on the CPU; None if it is not there, and a damaged one is as good as none."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return None
        saved: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception:  # what a damaged file raises depends on where it is damaged
        return None
    return saved
