"""Items that come and go: an index made from another one. Knows indexes; no users.

Nothing is encoded twice: a title that the old index knows keeps its vector. BM25 weighs a word by
the number of titles that hold it, so its matrix is computed anew, which takes a second for 50,000
titles. The new index replaces the old one when it is whole, and finds a new item at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from gloss.artifacts import Artifact
from gloss.data.catalogue import Catalogue, Item, ItemId
from gloss.data.titles import clean_title
from gloss.errors import ConfigError, InputError
from gloss.progress import Progress, silent
from gloss.retrieval.index import Index, index_recipe, load_index, write_index

__all__ = ["add_items", "remove_items", "was_changed"]

_MAX_NAMED_ITEMS = 5


def add_items(
    index: Path, items: Sequence[Item], out: Path, *, progress: Progress = silent
) -> None:
    """Write to `out` (which may be `index`) an index with further items, in the order given.

    Titles are cleaned in the index's own style. progress counts titles that were encoded. Raises
    InputError for an item that is in the index already, ConfigError when the items change in place
    (`RetrieverSpec.in_place`) and `out` is another folder.
    """
    old = _opened(index, out)
    duplicates = [item.id for item in items if item.id in old.catalogue]
    if duplicates:
        raise InputError(f"already in {index}: {_named(duplicates)}")
    twice = [item for item, count in Counter(item.id for item in items).items() if count > 1]
    if twice:
        raise InputError(f"given twice: {_named(twice)}")
    style = old.settings.title_style
    new = [Item(item.id, clean_title(item.title, style)) for item in items]
    _write(old, Catalogue([*old.catalogue, *new]), out, progress)


def remove_items(index: Path, items: Collection[ItemId], out: Path) -> None:
    """Write to `out` (which may be `index`) an index without some items.

    Raises InputError for an item that is not in the index or when none would be left, and
    ConfigError as `add_items` does.
    """
    old = _opened(index, out)
    unknown = [item for item in items if item not in old.catalogue]
    if unknown:
        raise InputError(f"not in {index}: {_named(unknown)}")
    removed = frozenset(items)
    remaining = Catalogue(item for item in old.catalogue if item.id not in removed)
    _write(old, remaining, out, silent)


def was_changed(index: Artifact) -> bool:
    """Whether an index was made from another one by adding or removing items."""
    return "index" in index.inputs


def _opened(index: Path, out: Path) -> Index:
    opened = load_index(index)
    if opened.spec.in_place and out.resolve() != index.resolve():
        raise ConfigError(
            f"the items of {index} are kept by {opened.settings.retriever}, outside of the folder, "
            f"and change in place: give --out {index}, not {out}"
        )
    return opened


def _write(old: Index, catalogue: Catalogue, out: Path, progress: Progress) -> None:
    dataset = old.artifact.inputs["dataset"]
    recipe = index_recipe(dataset, old.settings, changed_from=old)
    if recipe.finish(out):
        return
    sold = dict(zip((item.id for item in old.catalogue), old.times_bought.tolist(), strict=True))
    times_bought = np.array([sold.get(item.id, 0) for item in catalogue], dtype=np.int64)
    with recipe.draft(out) as draft:
        write_index(
            draft,
            catalogue,
            old.settings,
            times_bought=times_bought,
            previous=old.stored,
            progress=progress,
        )


def _named(items: Sequence[ItemId]) -> str:
    more = len(items) - _MAX_NAMED_ITEMS
    return ", ".join(items[:_MAX_NAMED_ITEMS]) + (f" and {more} more" if more > 0 else "")
