"""Look-up by the whole title, alone and before another retriever. Knows catalogues; no users."""

from __future__ import annotations

from collections.abc import Sequence

from gloss.data.catalogue import Catalogue
from gloss.errors import ConfigError
from gloss.retrieval.retriever import Hit, Retriever

__all__ = ["Exact", "ExactFirst"]


class Exact:
    """Finds every item whose title equals the text, letter by letter; each scores 1."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        """See `Retriever.search`."""
        if k < 1:
            raise ConfigError(f"the number of items to find must be at least 1, not {k}")
        return [self._hits(text, k) for text in texts]

    def _hits(self, text: str, k: int) -> tuple[Hit, ...]:
        rows = self._catalogue.rows_of_title(text)[:k]
        return tuple(Hit(self._catalogue[row].id, row, 1.0) for row in rows)


class ExactFirst:
    """Items with exactly the text as their title, then what another retriever finds.

    An exact item scores 1 more than the best that the other retriever found (1 where it found
    nothing), so that order and scores agree; the others keep their scores. No item comes twice.
    """

    def __init__(self, exact: Exact, other: Retriever) -> None:
        self._exact = exact
        self._other = other

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        """See `Retriever.search`."""
        distinct = list(dict.fromkeys(texts))
        exact, other = self._exact.search(distinct, k), self._other.search(distinct, k)
        pairs = zip(distinct, exact, other, strict=True)
        joined = {text: _joined(first, rest)[:k] for text, first, rest in pairs}
        return [joined[text] for text in texts]


def _joined(exact: tuple[Hit, ...], other: tuple[Hit, ...]) -> tuple[Hit, ...]:
    if not exact:
        return other
    best = other[0].score if other else 0.0
    lifted = tuple([Hit(item, row, best + score) for item, row, score in exact])
    rows = [hit.row for hit in exact]
    first = len(exact)
    if [hit.row for hit in other[:first]] == rows:  # nearly always: spares a look at all the rest
        return lifted + other[first:]
    return lifted + tuple([hit for hit in other if hit.row not in rows])
