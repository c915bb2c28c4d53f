"""What every retriever keeps to, how an index is set, and the one place where rows are ordered.

Knows no users. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from gloss.data.catalogue import ItemId
from gloss.data.titles import TitleStyle
from gloss.errors import ConfigError

__all__ = [
    "ENCODER",
    "RRF_CONSTANT",
    "Hit",
    "IndexSettings",
    "NeighboursName",
    "Retriever",
    "RetrieverName",
    "top_rows",
]

Array = np.ndarray[Any, Any]

RRF_CONSTANT = 60
"""What reciprocal rank fusion adds to a rank (Cormack, Clarke and Büttcher, SIGIR 2009)."""

RetrieverName = Literal["bm25", "dense", "hybrid"]
ENCODER = "all-MiniLM-L6-v2"
"""The encoder where none is named: it can be installed from PyPI."""

NeighboursName = Literal["auto", "exact", "hnsw", "ivf"]


class Hit(NamedTuple):
    """An item that a text found. row: place in the catalogue; score: above 0, more is better.

    A named tuple, because a search makes them by the hundred thousand: a dataclass costs four times
    as much.
    """

    item: ItemId
    row: int
    score: float


class Retriever(Protocol):
    """Finds the items of a catalogue that texts mean."""

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        """At most `k` distinct items for each text, best first; equal scores by row.

        A text without a known word, or without any word, finds nothing: its hits are `()`. (An
        encoder knows every word; there only an empty text finds nothing.)
        """
        ...


_GROUPS = 4
"""Groups of scores for each item to be found, at least."""


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """How an index is made.

    title_style: how titles are cleaned (data/titles.py).
    marker: whether indexed titles and texts begin with "Title: ", as in the published system.
    exact_first: whether items whose title equals the text come before what the words find.
    k1, b: BM25's saturation and length normalisation (defaults of bm25s, which GLoSS uses).
    stopwords: the language of the words that are left out, as bm25s names it.
    encoder: the sentence encoder, by name or folder (retrieval/encoders.py).
    prefixes: whether texts begin as the encoder was trained to read them.
    blend, weight: how hybrid search joins words and meaning (retrieval/hybrid.py).
    neighbours: how near vectors are searched: "exact", by a FAISS index ("hnsw", "ivf"), or
    "auto", which is exact until that is slow (retrieval/approximate.py).
    """

    title_style: TitleStyle = "fair"
    marker: bool = False
    exact_first: bool = True
    retriever: RetrieverName = "bm25"
    k1: float = 1.5
    b: float = 0.75
    stopwords: str = "en"
    encoder: str = ENCODER
    prefixes: bool = True
    blend: Literal["rrf", "weighted"] = "rrf"
    weight: float = 0.5
    neighbours: NeighboursName = "auto"

    @property
    def by_words(self) -> bool:
        """Whether BM25 takes part."""
        return self.retriever != "dense"

    @property
    def by_meaning(self) -> bool:
        """Whether a sentence encoder takes part."""
        return self.retriever != "bm25"


def top_rows(scores: Array, k: int, *, above: float = 0.0) -> Array:
    """The rows of the `k` highest scores: highest first, equal scores by row.

    scores: shape (rows,). Rows whose score is not above `above` found nothing and are left out, so
    fewer than `k` may come back. Raises ConfigError when `k` is below 1.

    >>> top_rows(np.array([0.0, 2.0, 5.0, 2.0]), 2).tolist()
    [2, 1]
    """
    if k < 1:
        raise ConfigError(f"the number of items to find must be at least 1, not {k}")
    rows = np.flatnonzero(scores > above)
    found = scores[rows]
    if found.size > k:
        # Everything that ties with the k-th stays until the sort: a partition alone would pick any.
        reach = found >= _kth_highest(found, k)
        rows, found = rows[reach], found[reach]
    ordered: Array = rows[np.argsort(-found, kind="stable")[:k]]
    return ordered


def _kth_highest(scores: Array, k: int) -> Any:
    """The `k`-th highest of at least `k` scores.

    Of many scores few reach the k-th highest of the groups' highest, and at least `k` do: they are
    found in a third of the time that a partition of all takes.
    """
    size = len(scores) // (_GROUPS * k)
    if size > 1:
        groups = len(scores) // size
        highest = scores[: groups * size].reshape(size, groups).max(axis=0)
        scores = scores[scores >= _kth_highest(highest, k)]
    place = len(scores) - k
    return np.partition(scores, place)[place]
