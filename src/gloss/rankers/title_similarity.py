"""Title similarity: items whose titles have vectors like those of a user's last purchases.

The score of item j for a user with purchases i = 1 … n, the last of them at age 0:

    s(j) = Σ_i w_i · v_i · v_j  /  Σ_i w_i,   w_i = decay^age(i)

with v the sentence vectors of titles, of length 1. Nothing is trained. Knows vectors, not the
encoder that made them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from gloss.arrays import Array, Ints
from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import History
from gloss.rankers.ranker import Need, RankerParts, RankerSpec, RankRequest
from gloss.rankers.scoring import (
    ScoredHistory,
    dot_products,
    rank_by_scores,
    recency_weights,
    rows_of,
)
from gloss.rankers.settings import RecentPurchases
from gloss.rankings.table import RankingTable

__all__ = ["SPEC", "TitleSimilarity", "TitleSimilaritySettings"]

_BATCH_USERS = 512
"""Users whose scores for the whole catalogue are held at once."""


class TitleSimilaritySettings(RecentPurchases):
    """Title similarity: nothing but which purchases count."""


@dataclass(frozen=True, slots=True, eq=False)
class TitleSimilarity:
    """vectors: float32 (catalogue, width), of the items' titles, rows of length 1."""

    vectors: Array
    catalogue: Catalogue
    settings: TitleSimilaritySettings
    times_bought: Ints | None = None

    def rank(self, request: RankRequest) -> RankingTable:
        """Everybody's list by the module's formula."""
        return rank_by_scores(
            request,
            self.catalogue,
            self._score,
            batch_users=_BATCH_USERS,
            times_bought=self.times_bought,
        )

    def _score(self, histories: Sequence[History]) -> Iterator[ScoredHistory]:
        recent = [history.items[-self.settings.recent :] for history in histories]
        weighted = [self._weighted(items) for items in recent]
        means = np.stack([vectors.sum(axis=0) for vectors in weighted])  # (users, width)
        scores = means @ self.vectors.T  # (users, catalogue)
        for items, vectors, row in zip(recent, weighted, scores, strict=True):
            yield ScoredHistory(items, row, partial(dot_products, vectors, self.vectors))

    def _weighted(self, items: Sequence[ItemId]) -> Array:
        """float32 (purchases, width): the terms of the mean, w_i · v_i / Σ w."""
        weights = recency_weights(len(items), self.settings.decay)
        shares = (weights / weights.sum())[:, None]  # (purchases, 1)
        weighted: Array = self.vectors[rows_of(items, self.catalogue)] * shares
        return weighted


def _build(parts: RankerParts, settings: TitleSimilaritySettings) -> TitleSimilarity:
    return TitleSimilarity(parts.title_vectors, parts.catalogue, settings, parts.times_bought)


def _needs(settings: TitleSimilaritySettings) -> frozenset[Need]:
    return frozenset({"title-vectors"})


SPEC = RankerSpec(
    name="title-similarity",
    label="Title similarity",
    settings=TitleSimilaritySettings,
    build=_build,
    needs=_needs,
)
