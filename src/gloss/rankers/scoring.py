"""From a score for every item to a user's list. Knows no ranker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from gloss.arrays import top_rows
from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import Question
from gloss.progress import Progress, silent
from gloss.rankers.ranker import RecentPurchases
from gloss.rankers.seen import seen_items
from gloss.rankings.table import RankingTable

__all__ = [
    "Array",
    "Scored",
    "Shares",
    "each_best",
    "fading",
    "products",
    "reached",
    "remembered",
    "rows_of",
]

Array = np.ndarray[Any, Any]

Shares = Callable[[Array], Array]
"""Rows of items (found,) -> what each purchase of the history did for each, (history, found)."""


class Scored(NamedTuple):
    """What a user's list is chosen from: the purchases that are asked, float (catalogue,) scores of
    any sign, -inf for what was not found, and what each purchase did for them."""

    history: Sequence[ItemId]
    scores: Array
    shares: Shares


class _Found(NamedTuple):
    """A user's list as rows of the catalogue: int64 (found,), float (found,), int64 (found,).

    because: for each item the purchase that did most for it.
    """

    rows: Array
    scores: Array
    because: Array


_NOTHING = _Found(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64))

_TOLD = 100
"""Users between two words about progress."""

_REMEMBERED = 2**30
"""Bytes that are kept of what is around items: histories share their items."""


def reached(
    around: Callable[[Sequence[ItemId]], tuple[Array, Shares]],
    questions: Sequence[Question],
    catalogue: Catalogue,
    *,
    settings: RecentPurchases,
    length: int,
    exclude_seen: bool,
    progress: Progress = silent,
) -> RankingTable:
    """Each user's list of what lies around the last `recent` purchases; what scores 0 is left out.

    around: purchases, earliest first -> float (catalogue,) scores, and what each did for them.
    """

    def scored(some: Sequence[Question]) -> Iterator[Scored]:
        for question in some:
            history = question.history[-settings.recent :]
            scores, shares = around(history)
            yield Scored(history, np.where(scores > 0, scores, -np.inf), shares)

    return each_best(
        scored,
        questions,
        catalogue,
        at_once=_TOLD,
        length=length,
        exclude_seen=exclude_seen,
        progress=progress,
    )


def remembered(of_row: Callable[[int], Array], *, size: int) -> Callable[[int], Array]:
    """The same function of an item's row, keeping what it gave last. size: bytes of one answer."""
    return lru_cache(max(1, _REMEMBERED // size))(of_row)


def each_best(
    scored: Callable[[Sequence[Question]], Iterable[Scored]],
    questions: Sequence[Question],
    catalogue: Catalogue,
    *,
    at_once: int,
    length: int,
    exclude_seen: bool,
    progress: Progress = silent,
) -> RankingTable:
    """Each user's list: the `length` items with the highest scores, equal scores by row.

    scored: some questions of users with a purchase, at most `at_once` -> what each list is chosen
    from. An item is there because of the purchase with the largest share. Without a purchase the
    list is empty.
    """
    asked = [question for question in questions if question.history]
    found: list[_Found] = []
    for first in range(0, len(asked), at_once):
        some = asked[first : first + at_once]
        for question, each in zip(some, scored(some), strict=True):
            seen = seen_items(question, exclude_seen=exclude_seen)
            found.append(_best(each, rows_of(tuple(seen), catalogue), catalogue, length))
        progress(len(found), len(asked))
    each_found = iter(found)
    lists = [next(each_found) if question.history else _NOTHING for question in questions]
    return _gathered(questions, lists, catalogue)


def _best(each: Scored, seen: Array, catalogue: Catalogue, length: int) -> _Found:
    """A user's list. seen: rows of what may not be in it."""
    scores = each.scores.copy()
    scores[seen] = -np.inf
    rows = top_rows(scores, length, above=-np.inf)
    if not len(rows):
        return _NOTHING
    because = rows_of(each.history, catalogue)[each.shares(rows).argmax(axis=0)]
    return _Found(rows, each.scores[rows], because)


def products(parts: Array, vectors: Array, rows: Array) -> Array:
    """As `Shares`: what the vector of each purchase, (history, width), gives to the items' ones."""
    found: Array = parts @ vectors[rows].T
    return found


def _gathered(
    questions: Sequence[Question], found: Sequence[_Found], catalogue: Catalogue
) -> RankingTable:
    """Everybody's list, from what was found for each."""
    if not found:
        return RankingTable.of(())
    rows, scores, because = (np.concatenate(column) for column in zip(*found, strict=True))
    entries = {
        "items": _ids(rows, catalogue),
        "scores": pl.Series(scores, dtype=pl.Float64),
        "queries": pl.repeat(None, len(rows), dtype=pl.String, eager=True),
        "because": _ids(because, catalogue),
    }
    lengths = np.array([len(each.rows) for each in found], dtype=np.int64)
    return RankingTable(tuple(each.user for each in questions), lengths, pl.DataFrame(entries))


def _ids(rows: Array, catalogue: Catalogue) -> pl.Series:
    """str (rows,): the items of these rows, each of which is looked up once."""
    once = np.flatnonzero(np.bincount(rows))
    ids = pl.Series([catalogue[row].id for row in once.tolist()], dtype=pl.String)
    return ids[np.searchsorted(once, rows)]


def rows_of(items: Sequence[ItemId], catalogue: Catalogue) -> Array:
    """int64 (items,): their places in the catalogue."""
    return np.array([catalogue.row(item) for item in items], dtype=np.int64)


def fading(count: int, decay: float) -> Array:
    """float32 (count,): the weights of purchases, earliest first; the last has 1."""
    weights: Array = (decay ** np.arange(count - 1, -1, -1.0)).astype(np.float32)
    return weights
