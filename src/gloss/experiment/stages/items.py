"""The stages behind `gloss items`: an index with items added or removed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gloss.artifacts import Artifact, open_artifact
from gloss.data.catalogue import Item, ItemId
from gloss.progress import Progress, silent
from gloss.retrieval import changes as changing
from gloss.retrieval import index as indexing

__all__ = ["add_items", "remove_items"]


def add_items(
    index: Path, items: Sequence[Item], out: Path, *, progress: Progress = silent
) -> Artifact:
    """An index with further items, at `out`, which may be `index`."""
    changing.add_items(index, items, out, progress=progress)
    return open_artifact(out, indexing.KIND)


def remove_items(index: Path, items: Sequence[ItemId], out: Path) -> Artifact:
    """An index without some items, at `out`, which may be `index`."""
    changing.remove_items(index, items, out)
    return open_artifact(out, indexing.KIND)
