"""From a score for every item to a user's list: what rankers that score the catalogue share.

Knows no ranker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import polars as pl

from gloss.arrays import Array, top_rows
from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import History
from gloss.rankers.ranker import RankRequest
from gloss.rankers.settings import RecentPurchases
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

Contributions = Callable[[Array], Array]
"""Rows of items, int64 (found,) -> what each purchase adds to their scores, (purchases, found)."""

_PROGRESS_USERS = 100
"""Users between two reports of progress, where users are scored one by one."""

_CACHE_BYTES = 2**30
"""Of arrays that are kept by item: histories share their items."""


class ScoredHistory(NamedTuple):
    """What a user's list is chosen from.

    items: the purchases that count. scores: float (catalogue,), of any sign; -inf leaves an item
    out. contributions: what each of the purchases adds to the scores.
    """

    items: Sequence[ItemId]
    scores: Array
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
) -> RankingTable:
    """Each user's list: the items with the highest scores, equal scores by row.

    score: at most `batch_users` histories, none of them empty -> the scores of each. An item is
    there because of the purchase that adds most to its score. Without a purchase the list is empty.
    """
    filled = [history for history in request.histories if history.items]
    lists: list[_List] = []
    barred = np.empty(0, np.int64) if request.allowed is None else np.flatnonzero(~request.allowed)
    for first in range(0, len(filled), batch_users):
        batch = filled[first : first + batch_users]
        for history, scored in zip(batch, score(batch), strict=True):
            seen = rows_of(tuple(request.excluded(history)), catalogue)
            excluded = np.concatenate([seen, barred]) if len(barred) else seen
            lists.append(_best(scored, excluded, catalogue, request.length))
        request.progress(len(lists), len(filled))
    of_filled = iter(lists)
    of_all = [next(of_filled) if history.items else _EMPTY for history in request.histories]
    return _table(request.histories, of_all, catalogue)


def rank_by_recent(
    request: RankRequest,
    catalogue: Catalogue,
    score: Callable[[Sequence[ItemId]], tuple[Array, Contributions]],
    *,
    settings: RecentPurchases,
) -> RankingTable:
    """The same for a score of the last `recent` purchases; what scores 0 is left out.

    score: purchases, earliest first -> float (catalogue,) scores, and what each purchase adds.
    """

    def scored(histories: Sequence[History]) -> Iterator[ScoredHistory]:
        for history in histories:
            items = history.items[-settings.recent :]
            scores, contributions = score(items)
            yield ScoredHistory(items, np.where(scores > 0, scores, -np.inf), contributions)

    return rank_by_scores(request, catalogue, scored, batch_users=_PROGRESS_USERS)


def cached_by_row(of_row: Callable[[int], Array], *, entry_bytes: int) -> Callable[[int], Array]:
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


def _best(scored: ScoredHistory, excluded: Array, catalogue: Catalogue, length: int) -> _List:
    """A user's list. excluded: rows of items that may not be in it."""
    scores = scored.scores.copy()
    scores[excluded] = -np.inf
    rows = top_rows(scores, length, above=-np.inf)
    if not len(rows):
        return _EMPTY
    strongest = scored.contributions(rows).argmax(axis=0)  # (found,), a place in the purchases
    return _List(rows, scored.scores[rows], rows_of(scored.items, catalogue)[strongest])


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
