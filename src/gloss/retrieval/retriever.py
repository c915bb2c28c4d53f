"""What every retriever keeps to, how an index is set, and the one place where rows are ordered.

Knows no users. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from gloss.data.catalogue import ItemId
from gloss.data.titles import TitleStyle

__all__ = [
    "ENCODER",
    "RRF_CONSTANT",
    "Hit",
    "IndexSettings",
    "NeighboursName",
    "Retriever",
    "RetrieverName",
]

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


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """How an index is made.

    title_style: how titles are cleaned (data/titles.py).
    marker: whether indexed titles and texts begin with "Title: ", as in the published system.
    exact_first: whether items whose title equals the text come before what the words find.
    k1, b: BM25's saturation and length normalisation (defaults of bm25s, which GLoSS uses).
    stopwords: the language of the words that are left out, as bm25s names it.
    encoder: the sentence encoder, by name or folder (retrieval/dense/encoders.py).
    prefixes: whether texts begin as the encoder was trained to read them.
    blend, weight: how hybrid search joins words and meaning (retrieval/hybrid.py).
    neighbours: how near vectors are searched: "exact", by a FAISS index ("hnsw", "ivf"), or
    "auto", which is exact until that is slow (retrieval/dense/approximate.py).
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
