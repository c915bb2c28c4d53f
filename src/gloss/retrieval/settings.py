"""The settings of the retrievers that GLoSS has: one class each, with one field a setting.

The `index` section of a configuration (experiment/settings.py), the options of `gloss index` and
the manifests of indexes are made from these fields. Needs nothing but pydantic, so that the command
line can read it at its start; a new retriever's settings stand in its own file.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gloss.config import Settings
from gloss.data.titles import TitleStyle
from gloss.retrieval.lexical.words import WordRule

__all__ = [
    "ENCODER",
    "PROTOCOL_SETTINGS",
    "BM25Settings",
    "DenseSettings",
    "EncoderSettings",
    "HybridFusion",
    "HybridSettings",
    "IndexSettings",
    "MilvusSettings",
    "Neighbours",
]

ENCODER = "all-MiniLM-L6-v2"
"""The encoder where none is named: it can be installed from PyPI."""

Neighbours = Literal["auto", "exact", "hnsw", "ivf"]
HybridFusion = Literal["reciprocal-rank", "weighted"]

PROTOCOL_SETTINGS = ("title_style", "exact_first", "popular_first", "marker", "prefixes")
"""The fields below whose default depends on the protocol; the defaults here are FAIR's."""


class IndexSettings(Settings):
    """What every index has; each retriever adds its own fields.

    >>> BM25Settings(k1=1.2).model_dump(include={"retriever", "marker", "k1", "b"})
    {'retriever': 'bm25', 'marker': False, 'k1': 1.2, 'b': 0.75}
    """

    retriever: str
    title_style: TitleStyle = Field("fair", description="How titles are cleaned.")
    exact_first: bool = Field(
        True, description="Whether items whose title equals the query come first."
    )
    popular_first: bool = Field(
        True,
        description="Whether the most bought comes first among items that are found equally well, "
        "such as variants of one title; else the first of the catalogue.",
    )


class _WithMarker(IndexSettings):
    marker: bool = Field(
        False, description='Whether titles and queries begin with "Title: ", as in the paper.'
    )


class BM25Settings(_WithMarker):
    """Lexical search (lexical/bm25.py)."""

    retriever: str = "bm25"
    k1: float = Field(1.5, ge=0, le=1000, description="BM25: saturation of repeated words.")
    b: float = Field(0.75, ge=0, le=1, description="BM25: share of the length normalisation.")
    words: WordRule = Field(
        "any-script",
        description="BM25: what counts as a word: any-script: also in Hindi, Chinese, Japanese, "
        "Thai …; published: runs of two letters or digits and more.",
    )
    stopwords: str = Field(
        "en", description="BM25: language of the words that are left out, as bm25s names it."
    )


class EncoderSettings(_WithMarker):
    """What every search with a sentence encoder has."""

    encoder: str = Field(
        ENCODER,
        description="Sentence encoder: all-MiniLM-L6-v2 (can be installed from PyPI), e5-small-v2, "
        "e5-base-v2, a folder or hub:OWNER/NAME.",
    )
    prefixes: bool = Field(
        True, description="Whether texts begin with the prefix that the encoder was trained with."
    )


class DenseSettings(EncoderSettings):
    """Dense search over vectors in memory (dense/retriever.py)."""

    retriever: str = "dense"
    neighbours: Neighbours = Field(
        "auto",
        description="Search for near vectors: exact, approximate with FAISS (hnsw, ivf), or exact "
        "until that is slow (auto).",
    )


class HybridSettings(BM25Settings, DenseSettings):
    """Lexical and dense search (hybrid.py)."""

    retriever: str = "hybrid"
    fusion: HybridFusion = Field(
        "reciprocal-rank", description="How hybrid joins both lists: by ranks or by scores."
    )
    weight: float = Field(0.5, ge=0, le=1, description="Share of the dense list in hybrid.")


class MilvusSettings(EncoderSettings):
    """Dense search over vectors in a Milvus store (dense/milvus.py)."""

    retriever: str = "milvus"
    address: str | None = Field(
        None,
        min_length=1,
        description="Milvus: http://HOST:19530 of a server, or a folder NAME.db (milvus-lite).",
    )
    collection: str | None = Field(
        None,
        min_length=1,
        description="Milvus: name of the collection, which is overwritten; by default it is named "
        "after the catalogue.",
    )
