"""Look-up by the whole title, alone and before another retriever. Knows catalogues; no users."""

from __future__ import annotations

from collections.abc import Sequence

from gloss.data.catalogue import Catalogue
from gloss.errors import ConfigError
from gloss.retrieval.index import Hit, Retriever

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
        exact, other = self._exact.search(texts, k), self._other.search(texts, k)
        return [_joined(first, rest)[:k] for first, rest in zip(exact, other, strict=True)]


def _joined(exact: tuple[Hit, ...], other: tuple[Hit, ...]) -> tuple[Hit, ...]:
    if not exact:
        return other
    best = other[0].score if other else 0.0
    rows = {hit.row for hit in exact}
    lifted = (Hit(hit.item, hit.row, best + hit.score) for hit in exact)
    return (*lifted, *(hit for hit in other if hit.row not in rows))
