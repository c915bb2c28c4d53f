"""From a score for every item to a user's list: what rankers that score the catalogue share.

Knows no ranker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
import polars as pl

from gloss.arrays import Array, Ints, top_rows
from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import History
from gloss.rankers.ranker import RankRequest
from gloss.rankers.settings import RecentPurchases
from gloss.rankers.sparse import SparseScores
from gloss.rankings.table import RankingTable

__all__ = [
    "Array",
    "Contributions",
    "ScoredHistory",
    "cached_by_row",
    "dot_products",
    "rank_by_recent",
    "rank_by_scores",
    "recency_weights",
    "rows_of",
]

T = TypeVar("T")

Contributions = Callable[[Array], Array]
"""Rows of items, int64 (found,) -> what each purchase adds to their scores, (purchases, found)."""

_PROGRESS_USERS = 100
"""Users between two reports of progress, where users are scored one by one."""

_CACHE_BYTES = 2**30
"""Of arrays that are kept by item: histories share their items."""


class ScoredHistory(NamedTuple):
    """What a user's list is chosen from.

    items: the purchases that count. scores: float (catalogue,), of any sign; -inf leaves an item
    out; or those of a few items, where all others are left out. contributions: what each of the
    purchases adds to the scores.
    """

    items: Sequence[ItemId]
    scores: Array | SparseScores
    contributions: Contributions


class _List(NamedTuple):
    """A user's list as rows of the catalogue: int64 (found,), float (found,), int64 (found,).

    because: for each item the purchase that adds most to its score.
    """

    rows: Array
    scores: Array
    because: Array


_EMPTY = _List(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64))


def rank_by_scores(
    request: RankRequest,
    catalogue: Catalogue,
    score: Callable[[Sequence[History]], Iterable[ScoredHistory]],
    *,
    batch_users: int,
    times_bought: Ints | None = None,
) -> RankingTable:
    """Each user's list: the items with the highest scores, equal scores by sales and then by row.

    times_bought: int64 (catalogue,); without it equal scores stand by row.

    score: at most `batch_users` histories, none of them empty -> the scores of each. An item is
    there because of the purchase that adds most to its score. Without a purchase the list is empty.
    """
    filled = [history for history in request.histories if history.items]
    lists: list[_List] = []
    for first in range(0, len(filled), batch_users):
        batch = filled[first : first + batch_users]
        for history, scored in zip(batch, score(batch), strict=True):
            lists.append(_best(scored, history, request, catalogue, times_bought))
        request.progress(len(lists), len(filled))
    of_filled = iter(lists)
    of_all = [next(of_filled) if history.items else _EMPTY for history in request.histories]
    return _table(request.histories, of_all, catalogue)


def rank_by_recent(
    request: RankRequest,
    catalogue: Catalogue,
    score: Callable[[Sequence[ItemId]], tuple[Array | SparseScores, Contributions]],
    *,
    settings: RecentPurchases,
    times_bought: Ints | None = None,
) -> RankingTable:
    """The same for a score of the last `recent` purchases, never below 0; what scores 0 is left
    out.

    score: purchases, earliest first -> the scores, and what each purchase adds.
    """

    def scored(histories: Sequence[History]) -> Iterator[ScoredHistory]:
        for history in histories:
            items = history.items[-settings.recent :]
            scores, contributions = score(items)
            if not isinstance(scores, SparseScores):
                scores = np.where(scores > 0, scores, -np.inf)
            yield ScoredHistory(items, scores, contributions)

    return rank_by_scores(
        request, catalogue, scored, batch_users=_PROGRESS_USERS, times_bought=times_bought
    )


def cached_by_row(of_row: Callable[[int], T], *, entry_bytes: int) -> Callable[[int], T]:
    """The same function of an item's row, keeping what it returned last. entry_bytes: of one."""
    return lru_cache(max(1, _CACHE_BYTES // entry_bytes))(of_row)


def recency_weights(count: int, decay: float) -> Array:
    """float32 (count,): decay^age of each purchase, earliest first; the last has age 0.

    >>> recency_weights(3, 0.5).tolist()
    [0.25, 0.5, 1.0]
    """
    weights: Array = (decay ** np.arange(count - 1, -1, -1.0)).astype(np.float32)
    return weights


def dot_products(purchases: Array, vectors: Array, rows: Array) -> Array:
    """(purchases, found): as `Contributions`, where a score is a sum of dot products.

    purchases: (purchases, width), a vector each; vectors: (catalogue, width).
    """
    products: Array = purchases @ vectors[rows].T
    return products


def rows_of(items: Sequence[ItemId], catalogue: Catalogue) -> Array:
    """int64 (items,): their rows in the catalogue."""
    return np.array([catalogue.row(item) for item in items], dtype=np.int64)


def _best(
    scored: ScoredHistory,
    history: History,
    request: RankRequest,
    catalogue: Catalogue,
    times_bought: Ints | None,
) -> _List:
    """A user's list."""
    seen = rows_of(tuple(request.excluded(history)), catalogue)
    if isinstance(scored.scores, SparseScores):
        rows, scores = _best_of_few(scored.scores, seen, request, times_bought)
    else:
        rows, scores = _best_of_all(scored.scores, seen, request, times_bought)
    if not len(rows):
        return _EMPTY
    strongest = scored.contributions(rows).argmax(axis=0)  # (found,), a place in the purchases
    return _List(rows, scores, rows_of(scored.items, catalogue)[strongest])


def _best_of_all(
    scores: Array, seen: Ints, request: RankRequest, times_bought: Ints | None
) -> tuple[Ints, Array]:
    """The rows of a list and their scores. seen: int64 (some,), rows that it leaves out."""
    candidates = scores.copy()
    candidates[seen] = -np.inf
    if request.allowed is not None:
        candidates[~request.allowed] = -np.inf
    rows = top_rows(candidates, request.length, above=-np.inf, times_bought=times_bought)
    return rows, scores[rows]


def _best_of_few(
    scores: SparseScores, seen: Ints, request: RankRequest, times_bought: Ints | None
) -> tuple[Ints, Array]:
    """The same, at a cost that does not grow with the catalogue."""
    left = scores.without(seen)
    if request.allowed is not None:
        left = left.where(request.allowed[left.rows])
    times = None if times_bought is None else times_bought[left.rows]
    best = top_rows(left.scores, request.length, above=-np.inf, times_bought=times)
    return left.rows[best].astype(np.int64), left.scores[best]


def _table(
    histories: Sequence[History], lists: Sequence[_List], catalogue: Catalogue
) -> RankingTable:
    """Everybody's list as one table."""
    if not lists:
        return RankingTable.of(())
    rows, scores, because = (np.concatenate(column) for column in zip(*lists, strict=True))
    entries = {
        "items": _ids(rows, catalogue),
        "scores": pl.Series(scores, dtype=pl.Float64),
        "queries": pl.repeat(None, len(rows), dtype=pl.String, eager=True),
        "because": _ids(because, catalogue),
    }
    users = tuple(history.user for history in histories)
    lengths = np.array([len(each.rows) for each in lists], dtype=np.int64)
    return RankingTable(users, lengths, pl.DataFrame(entries))


def _ids(rows: Array, catalogue: Catalogue) -> pl.Series:
    """str (rows,): the items of these rows, each of which is looked up once.

    Rows 7 2 7 have the distinct rows 2 7, of which they are the 1st, the 0th and the 1st.
    """
    distinct = np.flatnonzero(np.bincount(rows))
    ids = pl.Series([catalogue[row].id for row in distinct.tolist()], dtype=pl.String)
    return ids[np.searchsorted(distinct, rows)]
