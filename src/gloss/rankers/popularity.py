"""Popularity: what was bought most often. The least that a recommender has to beat."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from gloss.arrays import top_rows
from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import History, times_bought
from gloss.rankers.ranker import Need, NoSettings, RankerSpec, RankRequest
from gloss.rankers.sources import RankerSources
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.table import RankingTable

__all__ = ["SPEC", "Popularity"]


@dataclass(frozen=True, slots=True)
class Popularity:
    """The same list for everybody, also for a user without a purchase.

    entries: every item that was bought, the most bought first; scores are numbers of purchases.
    """

    entries: tuple[RankedItem, ...]

    @classmethod
    def of(cls, train: Sequence[History], items: Catalogue) -> Popularity:
        """Count all purchases of these items. Equal counts stand in the order of the catalogue."""
        counts = np.zeros(len(items), np.int64)
        for item, count in times_bought(train).items():
            if item in items:
                counts[items.row(item)] = count
        rows = top_rows(counts, len(items)).tolist()
        return cls(tuple(RankedItem(items[row].id, float(counts[row])) for row in rows))

    def rank(self, request: RankRequest) -> RankingTable:
        """Everybody's list: what was bought most often. It has no reason."""
        return RankingTable.of(
            [
                Ranking(history.user, self._first(request.length, request.excluded(history)))
                for history in request.histories
            ]
        )

    def _first(self, length: int, excluded: Collection[ItemId]) -> tuple[RankedItem, ...]:
        kept = (entry for entry in self.entries if entry.item not in excluded)
        return tuple(islice(kept, length))


def _build(sources: RankerSources, settings: NoSettings) -> Popularity:
    return Popularity.of(sources.dataset.train(), sources.items)


def _needs(settings: NoSettings) -> frozenset[Need]:
    return frozenset({"items"})


SPEC = RankerSpec(
    name="popularity", label="Popularity", settings=NoSettings, build=_build, needs=_needs
)
