"""A retriever that finds some of the items only. Knows rows; no rule that chose them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gloss.arrays import Bools, require_positive
from gloss.retrieval.retriever import Hit, Retriever

__all__ = ["within"]

_FIRST_FACTOR = 4
"""How much deeper than asked the first search goes, and each further one than the one before."""


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
        found: list[tuple[Hit, ...]] = [()] * len(texts)
        unfilled, depth = list(range(len(texts))), k
        while unfilled:
            depth = min(depth * _FIRST_FACTOR, len(self.allowed))
            hits = self.retriever.search([texts[number] for number in unfilled], depth)
            short = []
            for number, of_text in zip(unfilled, hits, strict=True):
                found[number] = tuple(hit for hit in of_text if self.allowed[hit.row])[:k]
                if len(found[number]) < k and len(of_text) == depth < len(self.allowed):
                    short.append(number)
            unfilled = short
        return found
