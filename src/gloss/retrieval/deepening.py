"""Searching deeper and deeper, until what is found is enough. Knows hits; not what for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gloss.retrieval.retriever import Hit, Retriever

__all__ = ["DEEPER", "search_until"]

DEEPER = 4
"""How much deeper each further search goes than the one before."""


def search_until(
    is_enough: Callable[[tuple[Hit, ...]], bool],
    retriever: Retriever,
    texts: Sequence[str],
    *,
    depth: int,
    items: int,
) -> list[tuple[Hit, ...]]:
    """The hits of each text, as deep as it takes until they are enough or all that there are.

    depth: of the first search; items: how many the retriever knows.
    """
    found: list[tuple[Hit, ...]] = [()] * len(texts)
    unfinished = list(range(len(texts)))
    while unfinished:
        depth = min(depth, items)
        hits = retriever.search([texts[number] for number in unfinished], depth)
        for number, of_text in zip(unfinished, hits, strict=True):
            found[number] = of_text
        unfinished = [
            number
            for number in unfinished
            if len(found[number]) == depth < items and not is_enough(found[number])
        ]
        depth *= DEEPER
    return found
