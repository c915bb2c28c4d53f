"""A retriever that finds some of the items only. Knows rows; no rule that chose them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gloss.arrays import Bools, require_positive
from gloss.retrieval.deepening import DEEPER, search_until
from gloss.retrieval.retriever import Hit, Retriever

__all__ = ["within"]


def within(retriever: Retriever, allowed: Bools | None) -> Retriever:
    """A retriever that finds these rows only, bool (catalogue,); itself where all are allowed."""
    return retriever if allowed is None else _Within(retriever, allowed)


@dataclass(frozen=True, slots=True, eq=False)
class _Within:
    """What a retriever finds among the rows that are allowed: bool (catalogue,).

    Searches deeper and deeper, until the lists are full or there is nothing more to find.
    """

    retriever: Retriever
    allowed: Bools

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        """See `Retriever.search`."""
        require_positive(k)
        found = search_until(
            lambda hits: len(self._kept(hits)) >= k,
            self.retriever,
            texts,
            depth=DEEPER * k,
            items=len(self.allowed),
        )
        return [self._kept(hits)[:k] for hits in found]

    def _kept(self, hits: tuple[Hit, ...]) -> tuple[Hit, ...]:
        return tuple(hit for hit in hits if self.allowed[hit.row])
