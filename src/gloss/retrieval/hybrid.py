"""Two retrievers as one: what words find and what meaning finds. Knows retrievers; no catalogue.

Both are asked for at least 100 items, so that an item's place does not depend on how many are
wanted; where more are wanted, for as many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from gloss.errors import ConfigError
from gloss.retrieval.dense.nearest import require_some
from gloss.retrieval.retriever import RRF_CONSTANT, Hit, Retriever

__all__ = ["BLENDS", "Hybrid"]

_DEPTH = 100
Scores = dict[int, float]


class Hybrid:
    """Joins the hits of a retriever by words and one by meaning into one list."""

    def __init__(
        self, words: Retriever, meaning: Retriever, *, blend: str = "rrf", weight: float = 0.5
    ) -> None:
        """blend: a name of `BLENDS`; weight: the share of the retriever by meaning, 0 to 1."""
        if blend not in BLENDS:
            raise ConfigError(f"unknown blend {blend!r}, known are {', '.join(BLENDS)}")
        if not 0 <= weight <= 1:
            raise ConfigError(f"the weight of meaning must be from 0 to 1, not {weight}")
        self._words = words
        self._meaning = meaning
        self._blend = blend
        self._weight = weight

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        """See `Retriever.search`. Scores are those of the blend, at most 1 with "weighted"."""
        require_some(k)
        depth = max(k, _DEPTH)
        words, meaning = self._words.search(texts, depth), self._meaning.search(texts, depth)
        return [self._joined(*pair, k) for pair in zip(words, meaning, strict=True)]

    def _joined(self, words: tuple[Hit, ...], meaning: tuple[Hit, ...], k: int) -> tuple[Hit, ...]:
        by_words, by_meaning = BLENDS[self._blend]
        scores: Scores = {}
        for hits, score, share in (
            (words, by_words, 1 - self._weight),
            (meaning, by_meaning, self._weight),
        ):
            for row, value in score(hits).items():
                scores[row] = scores.get(row, 0.0) + share * value
        items = {hit.row: hit.item for hit in (*words, *meaning)}
        best = sorted((-score, row) for row, score in scores.items() if score > 0)[:k]
        return tuple(Hit(items[row], row, -minus) for minus, row in best)


def _reciprocal_ranks(hits: Sequence[Hit]) -> Scores:
    """1 / (60 + rank), equal scores sharing a rank."""
    ranks = enumerate(groupby(hits, key=lambda hit: hit.score), 1)
    return {hit.row: 1 / (RRF_CONSTANT + rank) for rank, (_, ties) in ranks for hit in ties}


def _shares_of_best(hits: Sequence[Hit]) -> Scores:
    """The score over the best one; the least that BM25 can give is 0."""
    return {hit.row: hit.score / hits[0].score for hit in hits}


def _shares_of_best_cosine(hits: Sequence[Hit]) -> Scores:
    """The same for cosines, whose least is -1."""
    return {hit.row: (hit.score + 1) / (hits[0].score + 1) for hit in hits}


BLENDS: Mapping[str, tuple[Callable[[Sequence[Hit]], Scores], ...]] = {
    "rrf": (_reciprocal_ranks, _reciprocal_ranks),
    "weighted": (_shares_of_best, _shares_of_best_cosine),
}
"""How scores are made comparable, for words and for meaning. "weighted" scales by the least that a
score can be and the best that was found (Bruch, Gai and Ingber, ACM TOIS 2023)."""
