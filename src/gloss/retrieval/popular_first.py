"""Among items that a text finds equally well, the most bought first. Knows counts; no users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gloss.arrays import Ints, require_positive
from gloss.retrieval.deepening import search_until
from gloss.retrieval.retriever import Hit, Retriever

__all__ = ["PopularFirst"]


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

        def ends_below_the_kth(hits: tuple[Hit, ...]) -> bool:
            return hits[-1].score != hits[k - 1].score

        items = len(self.times_bought)
        found = search_until(ends_below_the_kth, self.retriever, texts, depth=k + 1, items=items)
        return [self._ordered(of_text)[:k] for of_text in found]

    def _ordered(self, hits: tuple[Hit, ...]) -> tuple[Hit, ...]:
        scores = [hit.score for hit in hits]
        if len(set(scores)) == len(scores):
            return hits
        times = self.times_bought
        return tuple(sorted(hits, key=lambda hit: (-hit.score, -times[hit.row], hit.row)))
