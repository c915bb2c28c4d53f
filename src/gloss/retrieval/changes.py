"""Items that come and go: an index made from another one. Knows indexes; no users.

What stands is not encoded again: a title that the old index knows keeps its vector. BM25 weighs a
word by how many titles hold it, so its matrix is computed anew, which takes a second for 50,000
titles. The new index is whole when it is there, and finds a new item at once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from gloss.data.catalogue import Catalogue, Item, ItemId
from gloss.data.titles import clean_title
from gloss.errors import InputError
from gloss.progress import Progress, silent
from gloss.retrieval.index import Index, Parts, encoder_input, encoder_of, load_index, write_index

__all__ = ["add_items", "remove_items"]

_MOST_NAMED = 5


def add_items(
    index: Path, items: Sequence[Item], out: Path, *, progress: Progress = silent
) -> None:
    """Write to `out` (which may be `index`) an index with further items, in the order given.

    Titles are cleaned as the index's own. progress counts titles that were encoded. Raises
    InputError for an item that is there already.
    """
    old = load_index(index)
    there = [item.id for item in items if item.id in old.catalogue]
    if there:
        raise InputError(f"already in {index}: {_named(there)}")
    style = old.settings.title_style
    new = [Item(item.id, clean_title(item.title, style)) for item in items]
    _write(old, Catalogue([*old.catalogue, *new]), out, progress)


def remove_items(index: Path, items: Collection[ItemId], out: Path) -> None:
    """Write to `out` (which may be `index`) an index without some items.

    Raises InputError for an item that is not there, or when none would be left.
    """
    old = load_index(index)
    unknown = [item for item in items if item not in old.catalogue]
    if unknown:
        raise InputError(f"not in {index}: {_named(unknown)}")
    gone = frozenset(items)
    _write(old, Catalogue(item for item in old.catalogue if item.id not in gone), out, silent)


def _write(old: Index, catalogue: Catalogue, out: Path, progress: Progress) -> None:
    encoder = encoder_of(old.settings)
    inputs = {
        "dataset": old.artifact.inputs["dataset"],
        **encoder_input(encoder),
        "index": old.fingerprint,
    }
    write_index(
        out,
        catalogue,
        old.settings,
        lambda: Parts.built(
            catalogue, old.settings, encoder, grown_from=old.parts, progress=progress
        ),
        inputs=inputs,
    )


def _named(items: Sequence[ItemId]) -> str:
    more = len(items) - _MOST_NAMED
    return ", ".join(items[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
