"""Hybrid search: one list from a lexical and a dense retriever.

Both are searched for at least 100 items, so that an item's rank does not depend on how many are
wanted; where more are wanted, for as many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from gloss.arrays import Floats, require_positive
from gloss.artifacts import Artifact, Draft
from gloss.data.catalogue import Catalogue
from gloss.errors import ConfigError, did_you_mean
from gloss.progress import Progress
from gloss.retrieval.dense import retriever as dense_retriever
from gloss.retrieval.dense.retriever import Dense
from gloss.retrieval.lexical import bm25
from gloss.retrieval.lexical.bm25 import BM25
from gloss.retrieval.retriever import (
    RRF_CONSTANT,
    Hit,
    Retriever,
    RetrieverSpec,
    StoredRetriever,
)
from gloss.retrieval.settings import HybridFusion, HybridSettings

__all__ = ["FUSIONS", "SPEC", "Hybrid", "StoredHybrid"]

_MIN_DEPTH = 100
"""Items that each retriever is asked for, at least."""

Scores = dict[int, float]
"""Row -> score."""


class Hybrid:
    """Fuses the hits of a lexical and a dense retriever into one list.

    score(item) = (1 - weight) · f(lexical, item) + weight · g(dense, item)

    where f and g make the scores of both comparable (`FUSIONS`), and are 0 for an item that was not
    found.
    """

    def __init__(
        self,
        lexical: Retriever,
        dense: Retriever,
        *,
        fusion: HybridFusion = "reciprocal-rank",
        weight: float = 0.5,
    ) -> None:
        """fusion: a name of `FUSIONS`; weight: the share of the dense retriever, 0 to 1."""
        if fusion not in FUSIONS:
            raise ConfigError(f"unknown fusion {fusion!r} ({did_you_mean(fusion, FUSIONS)})")
        if not 0 <= weight <= 1:
            raise ConfigError(f"the weight of the dense list must be from 0 to 1, not {weight}")
        self._lexical = lexical
        self._dense = dense
        self._normalizers = FUSIONS[fusion]
        self._weight = weight

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        """See `Retriever.search`. Scores are those of the fusion, at most 1 with "weighted"."""
        require_positive(k)
        depth = max(k, _MIN_DEPTH)
        lexical, dense = self._lexical.search(texts, depth), self._dense.search(texts, depth)
        return [self._fused(*pair, k) for pair in zip(lexical, dense, strict=True)]

    def _fused(self, lexical: tuple[Hit, ...], dense: tuple[Hit, ...], k: int) -> tuple[Hit, ...]:
        normalize_lexical, normalize_dense = self._normalizers
        scores: Scores = {}
        for row, score in normalize_lexical(lexical).items():
            scores[row] = (1 - self._weight) * score
        for row, score in normalize_dense(dense).items():
            scores[row] = scores.get(row, 0.0) + self._weight * score
        items = {hit.row: hit.item for hit in (*lexical, *dense)}
        best = sorted((-score, row) for row, score in scores.items() if score > 0)[:k]
        return tuple(Hit(items[row], row, -negated) for negated, row in best)


class StoredHybrid(Hybrid):
    """BM25 and dense search of one catalogue, with what an index keeps of both."""

    def __init__(self, lexical: BM25, dense: Dense, settings: HybridSettings) -> None:
        super().__init__(lexical, dense, fusion=settings.fusion, weight=settings.weight)
        self.lexical = lexical
        self.dense = dense

    @property
    def title_vectors(self) -> Floats:
        """See `HasTitleVectors`."""
        return self.dense.title_vectors

    def save(self, draft: Draft) -> None:
        """Write both parts; they share no file."""
        self.lexical.save(draft)
        self.dense.save(draft)


def _build(
    catalogue: Catalogue,
    settings: HybridSettings,
    *,
    previous: StoredRetriever | None,
    progress: Progress,
) -> StoredHybrid:
    old = previous.dense if isinstance(previous, StoredHybrid) else None
    lexical = BM25.build(catalogue, settings)
    dense = Dense.build(catalogue, settings, previous=old, progress=progress)
    return StoredHybrid(lexical, dense, settings)


def _load(artifact: Artifact, catalogue: Catalogue, settings: HybridSettings) -> StoredHybrid:
    lexical = BM25.load(artifact, catalogue, settings)
    return StoredHybrid(lexical, Dense.load(artifact, catalogue, settings), settings)


def _reciprocal_ranks(hits: Sequence[Hit]) -> Scores:
    """1 / (60 + rank), rank from 1 on; equal scores share a rank (Cormack et al., SIGIR 2009)."""
    ranks = enumerate(groupby(hits, key=lambda hit: hit.score), 1)
    return {hit.row: 1 / (RRF_CONSTANT + rank) for rank, (_, ties) in ranks for hit in ties}


def _shares_of_best(hits: Sequence[Hit]) -> Scores:
    """score / best score: the lowest score that BM25 can give is 0."""
    return {hit.row: hit.score / hits[0].score for hit in hits}


def _shares_of_best_cosine(hits: Sequence[Hit]) -> Scores:
    """(score + 1) / (best score + 1): the lowest cosine is -1."""
    return {hit.row: (hit.score + 1) / (hits[0].score + 1) for hit in hits}


FUSIONS: Mapping[HybridFusion, tuple[Callable[[Sequence[Hit]], Scores], ...]] = {
    "reciprocal-rank": (_reciprocal_ranks, _reciprocal_ranks),
    "weighted": (_shares_of_best, _shares_of_best_cosine),
}
"""How lexical and dense scores are made comparable. "weighted" is the theoretical min-max scaling
of Bruch, Gai and Ingber (ACM TOIS 2023): by the lowest possible score and the best one found."""

SPEC = RetrieverSpec(
    name="hybrid",
    label=f"{bm25.SPEC.label} and {dense_retriever.SPEC.label}",
    settings=HybridSettings,
    build=_build,
    load=_load,
    inputs=dense_retriever.SPEC.inputs,
)
