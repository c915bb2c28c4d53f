"""Popularity: what was bought most often. The least that a recommender has to beat."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import compress, islice

import numpy as np

from gloss.arrays import Array, Bools, Ints, top_rows
from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.history_rows import HistoryRows
from gloss.rankers.ranker import (
    Need,
    NoSettings,
    RankerParts,
    RankerSpec,
    RankRequest,
    require_counts,
)
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.table import RankingTable

__all__ = ["SPEC", "Popularity", "count_purchases"]


@dataclass(frozen=True, slots=True)
class Popularity:
    """The same list for everybody, also for a user without a purchase.

    entries: every item that was bought, the most bought first; scores are numbers of purchases.
    rows: int64 (entries,), their rows in the items' order.
    """

    entries: tuple[RankedItem, ...]
    rows: Ints

    @classmethod
    def of(cls, times_bought: Array, items: Catalogue) -> Popularity:
        """times_bought: int64 (items,). Equal counts stand in the order of the catalogue."""
        rows = top_rows(times_bought, len(items))
        entries = (RankedItem(items[row].id, float(times_bought[row])) for row in rows.tolist())
        return cls(tuple(entries), rows)

    def rank(self, request: RankRequest) -> RankingTable:
        """Everybody's list: what was bought most often. It has no reason."""
        entries = self._allowed(request.allowed)
        return RankingTable.of(
            [
                Ranking(history.user, _first(entries, request.length, request.excluded(history)))
                for history in request.histories
            ]
        )

    def _allowed(self, allowed: Bools | None) -> tuple[RankedItem, ...]:
        if allowed is None:
            return self.entries
        return tuple(compress(self.entries, allowed[self.rows].tolist()))


def _first(
    entries: tuple[RankedItem, ...], length: int, excluded: Collection[ItemId]
) -> tuple[RankedItem, ...]:
    kept = (entry for entry in entries if entry.item not in excluded)
    return tuple(islice(kept, length))


def count_purchases(
    train: HistoryRows, catalogue: Catalogue, settings: NoSettings
) -> Mapping[str, Array]:
    """times_bought: int64 (catalogue,), how often each item was bought."""
    return {"times_bought": np.bincount(train.rows, minlength=len(catalogue))}


def _build(parts: RankerParts, settings: NoSettings) -> Popularity:
    arrays, catalogue = parts.counts(SPEC, settings), parts.catalogue
    counts = arrays.get("times_bought", np.empty(0))
    require_counts(counts.dtype.kind == "i" and counts.shape == (len(catalogue),), SPEC.name)
    known = [catalogue.row(item.id) if item.id in catalogue else -1 for item in parts.items]
    # An index may hold items that the data set does not know: they were never bought.
    return Popularity.of(np.append(counts, 0)[known], parts.items)


def _needs(settings: NoSettings) -> frozenset[Need]:
    return frozenset({"items"})


SPEC = RankerSpec(
    name="popularity",
    label="Popularity",
    settings=NoSettings,
    build=_build,
    needs=_needs,
    count=count_purchases,
)
