"""Similarity of titles: what is like a user's last purchases. Knows vectors; knows no encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import Question
from gloss.progress import Progress, silent
from gloss.rankers.ranker import RankerSpec, RecentPurchases
from gloss.rankers.scoring import Array, Scored, each_best, fading, products, rows_of
from gloss.rankings.table import RankingTable

__all__ = ["SPEC", "TitleSimilaritySettings", "similar_titles"]


class TitleSimilaritySettings(RecentPurchases):
    """Title similarity: nothing but which purchases count."""


_AT_ONCE = 512
"""Users whose scores for the whole catalogue are held at once."""


def similar_titles(
    vectors: Array,
    questions: Sequence[Question],
    catalogue: Catalogue,
    *,
    settings: TitleSimilaritySettings,
    length: int,
    exclude_seen: bool,
    progress: Progress = silent,
) -> RankingTable:
    """Each user's list by the mean product with the last `recent` purchases, later ones counting
    more (`decay`).

    vectors: float32 (catalogue, width), rows of length 1. An item is there because of the purchase
    with the largest share in its mean. A user without a purchase has an empty list.
    """

    def scored(some: Sequence[Question]) -> Iterator[Scored]:
        histories = [question.history[-settings.recent :] for question in some]
        bought = [_weighted(vectors, each, catalogue, settings) for each in histories]
        scores = np.stack([each.sum(axis=0) for each in bought]) @ vectors.T
        for history, mine, row in zip(histories, bought, scores, strict=True):
            yield Scored(history, row, partial(products, mine, vectors))

    return each_best(
        scored,
        questions,
        catalogue,
        at_once=_AT_ONCE,
        length=length,
        exclude_seen=exclude_seen,
        progress=progress,
    )


def _weighted(
    vectors: Array,
    history: Sequence[ItemId],
    catalogue: Catalogue,
    settings: TitleSimilaritySettings,
) -> Array:
    """float32 (purchases, width): the parts of the mean."""
    weights = fading(len(history), settings.decay)
    parts: Array = vectors[rows_of(history, catalogue)] * (weights / weights.sum())[:, None]
    return parts


SPEC = RankerSpec("title-similarity", "Title similarity", TitleSimilaritySettings)
