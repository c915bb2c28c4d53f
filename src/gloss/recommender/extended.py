"""A bundle with items that came, or were named anew, after it was made. Nothing is written, but by
an index that keeps its items in a store: there they are added, and what they were before stays.

Texts find such an item at once, the language model may write its title, and rankers that read
titles alone list it. Rankers that have counted purchases, or were trained, know the bundle's own
items, and are asked about these (rankers/known_items.py). `gloss update` makes a bundle in which
all parts know it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import polars as pl

from gloss.arrays import Array, Floats, Ints
from gloss.data.catalogue import Catalogue, Item
from gloss.data.titles import clean_title, has_words
from gloss.errors import InputError, did_you_mean, on_one_line
from gloss.rankers.specs import ranker_named
from gloss.recommender.bundle import Bundle, RankerPart
from gloss.retrieval.index import build_index
from gloss.retrieval.retriever import Retriever

__all__ = ["ExtendedBundle", "cleaned"]


class ExtendedBundle(Bundle):
    """A bundle whose catalogue has further items at its end, and known ones with other titles or
    columns in their own rows.

    items: with titles as they are searched (`cleaned`). vectors: float32 (items, width), of their
    titles; None where there is no encoder: then rankers that read vectors know the old items only.
    Raises InputError for columns that the bundle's catalogue does not have.
    """

    def __init__(self, base: Bundle, items: Sequence[Item], vectors: Floats | None) -> None:
        super().__init__(base.artifact, base.settings)
        self._base = base
        self._vectors = vectors
        self._frame = _with_items(base.columns, base.catalogue, items)
        self._rows = np.array([self.catalogue.row(item.id) for item in items], np.int64)

    @cached_property
    def retriever(self) -> Retriever:
        """Searches all items; titles that the bundle's index knows are not encoded again."""
        index = self._base.index
        return build_index(
            self.catalogue,
            index.settings,
            times_bought=self.times_bought,
            previous=index.stored,
        )

    @property
    def has_title_vectors(self) -> bool:
        return self._base.has_title_vectors and self._vectors is not None

    @cached_property
    def title_vectors(self) -> Array:
        assert self._vectors is not None
        vectors = self._longer(self._base.title_vectors)
        vectors[self._rows] = self._vectors
        return vectors

    @cached_property
    def times_bought(self) -> Ints:
        """What came later has not been bought in training."""
        return self._longer(self._base.times_bought)

    def knows_titles_of(self, part: RankerPart) -> bool:
        """Whether a ranker is made of titles alone, and so can be made of these."""
        spec = ranker_named(part.name)
        settings = spec.settings.model_validate(part.settings)
        has_vectors = self.has_title_vectors or "title-vectors" not in spec.needs(settings)
        return spec.training is None and spec.count is None and has_vectors

    def _longer(self, array: Array) -> Array:
        """A copy with zeros for the items at the end."""
        longer = np.zeros((len(self.catalogue), *array.shape[1:]), array.dtype)
        longer[: len(array)] = array
        return longer


def cleaned(items: Sequence[Item], bundle: Bundle) -> list[Item]:
    """Items with titles in the bundle's style. Raises InputError for one without a word."""
    for item in items:
        if not has_words(item.title):
            raise InputError(f"the title of item {item.id!r} holds no word: {item.title!r}")
    style = bundle.settings.titles
    return [replace(item, title=clean_title(item.title, style)) for item in items]


def _with_items(frame: pl.DataFrame, catalogue: Catalogue, items: Sequence[Item]) -> pl.DataFrame:
    """The catalogue's frame with these items: known ones in their rows, others at the end.

    With the rows a b c, and the items b and d, the two frames' rows a b c | b d are taken in the
    order 0 3 2 4.
    """
    order = list(range(len(frame)))
    for number, item in enumerate(items, len(frame)):
        if item.id in catalogue:
            order[catalogue.row(item.id)] = number
        else:
            order.append(number)
    return pl.concat([frame, _frame_of(items, frame)])[order]


def _frame_of(items: Sequence[Item], like: pl.DataFrame) -> pl.DataFrame:
    """Items as rows of a frame with the columns of another; a column that is not given is null."""
    known = like.columns[2:]
    for item in items:
        for name in item.columns:
            if name not in known:
                raise InputError(
                    f"the catalogue has no column {name!r} ({did_you_mean(name, known)})"
                )
    rows = [{"item": item.id, "title": item.title, **item.columns} for item in items]
    try:
        return pl.DataFrame(rows, schema=like.schema, strict=True)
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise InputError(f"a column does not fit: {on_one_line(str(error))}") from None
