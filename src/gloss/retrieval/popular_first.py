"""Among items that a text finds equally well, the most bought first. Knows counts; no users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gloss.arrays import Ints, require_positive
from gloss.retrieval.retriever import Hit, Retriever

__all__ = ["PopularFirst"]

_DEEPER = 4
"""How much deeper each further search goes than the one before."""


@dataclass(frozen=True, slots=True, eq=False)
class PopularFirst:
    """The hits of a retriever, equal scores by sales and then by row.

    times_bought: int64 (catalogue,). A list that would end among equal scores is searched deeper,
    until all of them are found; variants of one title come in the order of their sales, not of the
    file.
    """

    retriever: Retriever
    times_bought: Ints

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        """See `Retriever.search`."""
        require_positive(k)
        found: list[tuple[Hit, ...]] = [()] * len(texts)
        cut, depth = list(range(len(texts))), min(k + 1, len(self.times_bought))
        while cut:
            hits = self.retriever.search([texts[number] for number in cut], depth)
            for number, of_text in zip(cut, hits, strict=True):
                found[number] = of_text
            cut = [n for n in cut if depth < len(self.times_bought) and _is_cut(found[n], k, depth)]
            depth = min(depth * _DEEPER, len(self.times_bought))
        return [self._ordered(of_text)[:k] for of_text in found]

    def _ordered(self, hits: tuple[Hit, ...]) -> tuple[Hit, ...]:
        scores = [hit.score for hit in hits]
        if len(set(scores)) == len(scores):
            return hits
        times = self.times_bought
        return tuple(sorted(hits, key=lambda hit: (-hit.score, -times[hit.row], hit.row)))


def _is_cut(hits: Sequence[Hit], k: int, depth: int) -> bool:
    """Whether hits that were searched to `depth` end among those that equal the k-th."""
    return len(hits) == depth and hits[-1].score == hits[k - 1].score
