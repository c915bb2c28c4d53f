"""Metrics with one relevant item a user, the target: what its rank in the list is worth.

All take `ranks`, int64 (users,), and return float64 (users,), empty where there are no users. The
first item of a list has rank 1; rank 0 means that the target is not in the list, which is worth 0
in every metric. Averages are taken in evaluate.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from gloss.data.catalogue import ItemId
from gloss.errors import ConfigError
from gloss.rankings.ranking import Ranking
from gloss.rankings.table import RankingTable

__all__ = ["all_metrics", "mrr", "ndcg", "recall", "target_ranks"]

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


def target_ranks(rankings: Sequence[Ranking], targets: Sequence[ItemId] | pl.Series) -> Ints:
    """int64 (users,): the rank of each target in its user's list, from 1; 0 where it is absent.

    targets: in the order of the rankings. Of an item that a list holds twice, the first counts.

    >>> from gloss.rankings.ranking import RankedItem
    >>> lists = [Ranking("u", (RankedItem("a", 2.0), RankedItem("b", 1.0))), Ranking("v", ())]
    >>> target_ranks(lists, ["b", "a"]).tolist()
    [2, 0]
    """
    lists = RankingTable.of(rankings)
    if len(lists) != len(targets):
        raise ValueError(f"{len(lists)} rankings, {len(targets)} targets")
    wanted = pl.Series(targets, dtype=pl.String)[lists.rows]
    # Backwards: of two entries with the target, the earlier one is written last.
    found = np.flatnonzero((lists.entries["items"] == wanted).to_numpy())[::-1]
    ranks = np.zeros(len(lists), dtype=np.int64)
    ranks[lists.rows[found]] = lists.ranks[found] + 1
    return ranks


def recall(ranks: Ints, cutoff: int) -> Floats:
    """Whether the target is among the first `cutoff` items.

        recall = 1 if 1 ≤ rank ≤ cutoff, else 0

    With one target a user this is also the hit rate.

    >>> recall(np.array([1, 3, 0]), 2).tolist()
    [1.0, 0.0, 0.0]
    """
    return _hits(ranks, cutoff).astype(np.float64)


def ndcg(ranks: Ints, cutoff: int) -> Floats:
    """The discounted gain of the target among the first `cutoff` items.

        ndcg = 1 / log2(1 + rank) if 1 ≤ rank ≤ cutoff, else 0

    Järvelin and Kekäläinen, TOIS 2002. With one target a user the ideal gain is 1, so there is
    nothing to divide by.

    >>> ndcg(np.array([1, 3, 0]), 3).tolist()
    [1.0, 0.5, 0.0]
    """
    return np.where(_hits(ranks, cutoff), 1 / np.log2(1 + np.maximum(ranks, 1)), 0.0)


def mrr(ranks: Ints, cutoff: int | None = None) -> Floats:
    """The reciprocal rank of the target among the first `cutoff` items.

        mrr = 1 / rank if 1 ≤ rank ≤ cutoff, else 0

    Without a cutoff the whole list counts, however long it is.

    >>> mrr(np.array([1, 4, 0])).tolist()
    [1.0, 0.25, 0.0]
    """
    return np.where(_hits(ranks, cutoff), 1 / np.maximum(ranks, 1), 0.0)


def all_metrics(ranks: Ints, cutoffs: Sequence[int]) -> dict[str, Floats]:
    """Every metric at every cutoff ("recall@5", "ndcg@5", "mrr@5", …), and "mrr" without one."""
    if not cutoffs or min(cutoffs) < 1:
        raise ConfigError(f"cutoffs must be whole numbers from 1, not {list(cutoffs)}")
    columns = {
        f"{name}@{cutoff}": metric(ranks, cutoff)
        for cutoff in cutoffs
        for name, metric in {"recall": recall, "ndcg": ndcg, "mrr": mrr}.items()
    }
    return {**columns, "mrr": mrr(ranks)}


def _hits(ranks: Ints, cutoff: int | None) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """bool (users,): whether the target is among the first `cutoff` items."""
    return (ranks > 0) if cutoff is None else (ranks > 0) & (ranks <= cutoff)
