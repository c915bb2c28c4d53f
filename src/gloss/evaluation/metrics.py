"""Metrics with one relevant item a user: what the target's place in the list is worth.

All take `ranks`, int (users,): 1 for the first place, 0 where the target is not in the list; all
give float64 (users,), empty where there are no users. Averages are taken in evaluate.py.
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


def target_ranks(rankings: Sequence[Ranking], targets: Sequence[ItemId]) -> Ints:
    """The place of each target in the ranking beside it, from 1; 0 where it is absent."""
    lists = RankingTable.of(rankings)
    if len(lists) != len(targets):
        raise ValueError(f"{len(lists)} rankings, {len(targets)} targets")
    wanted = pl.Series(targets, dtype=pl.String)[lists.rows]
    # Backwards, so that of an item that stands twice the first place counts.
    found = np.flatnonzero((lists.entries["items"] == wanted).to_numpy())[::-1]
    ranks = np.zeros(len(lists), dtype=np.int64)
    ranks[lists.rows[found]] = lists.places[found] + 1
    return ranks


def recall(ranks: Ints, cutoff: int) -> Floats:
    """Whether the target is among the first `cutoff` items: [1 <= rank <= cutoff].

    With one target a user this is also the hit rate. An absent target is worth 0.
    """
    return _within(ranks, cutoff).astype(np.float64)


def ndcg(ranks: Ints, cutoff: int) -> Floats:
    """Discounted gain of the target among the first `cutoff` items: 1 / log2(1 + rank).

    With one target a user the ideal gain is 1, so nothing is left to divide by (Järvelin and
    Kekäläinen, TOIS 2002). An absent target is worth 0.
    """
    return np.where(_within(ranks, cutoff), 1 / np.log2(1 + np.maximum(ranks, 1)), 0.0)


def mrr(ranks: Ints, cutoff: int | None = None) -> Floats:
    """Reciprocal place of the target among the first `cutoff` items: 1 / rank.

    Without a cutoff the whole list counts, however long it is. An absent target is worth 0.
    """
    return np.where(_within(ranks, cutoff), 1 / np.maximum(ranks, 1), 0.0)


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


def _within(ranks: Ints, cutoff: int | None) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return (ranks > 0) if cutoff is None else (ranks > 0) & (ranks <= cutoff)
