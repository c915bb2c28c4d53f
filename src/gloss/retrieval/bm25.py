"""Search by words: BM25, with bm25s for the words and the matrix. Knows catalogues; no users.

The formula is bm25s's "lucene" (Kamphuis et al., ECIR 2020), without stemming, as in the published
GLoSS. Three things differ from bm25s's own `retrieve`: equal scores are ordered by row, a text
without a known word finds nothing (bm25s returns the first items, with score 0), and equal texts
are searched once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import bm25s
import numpy as np

from gloss.artifacts import Draft
from gloss.data.catalogue import Catalogue
from gloss.errors import ConfigError, InputError
from gloss.retrieval.index import Hit, IndexSettings, top_rows

__all__ = ["BM25", "MARKER"]

MARKER = "Title: "
"""What the published system writes before every title, in its index and in its queries."""

_ARRAYS = ("data", "indices", "indptr")
_VOCABULARY = "vocabulary.json"


@dataclass(frozen=True, slots=True)
class _Matrix:
    """Compressed sparse columns: what each word (column) adds to the score of each title (row).

    data: float32 (entries,); indices: int32 (entries,), rows; indptr: int64 (words + 1,), where
    each column begins. vocabulary: word -> column. entries: where each column stands.
    """

    data: np.ndarray[Any, Any]
    indices: np.ndarray[Any, Any]
    indptr: np.ndarray[Any, Any]
    vocabulary: Mapping[str, int]
    entries: tuple[slice, ...]

    @classmethod
    def of(cls, arrays: Mapping[str, Any], vocabulary: Mapping[str, int]) -> _Matrix:
        entries = tuple(slice(*ends) for ends in pairwise(arrays["indptr"].tolist()))
        data, indices, indptr = (arrays[name] for name in _ARRAYS)
        return cls(data, indices, indptr, vocabulary, entries)

    def add(self, scores: np.ndarray[Any, Any], columns: Sequence[int]) -> None:
        """Add the columns to the scores of all rows; a column named twice counts twice."""
        entries = [self.entries[column] for column in columns]
        rows = np.concatenate([self.indices[each] for each in entries])
        # One call, in the order of the words: as fast as it gets, and the floats of bm25s.
        np.add.at(scores, rows, np.concatenate([self.data[each] for each in entries]))


class BM25:
    """A retriever by words; make one with `build` or `load`."""

    def __init__(self, catalogue: Catalogue, matrix: _Matrix, settings: IndexSettings) -> None:
        self._catalogue = catalogue
        self._matrix = matrix
        self._stopwords = settings.stopwords
        marker = _words([MARKER], settings.stopwords)[0] if settings.marker else []
        self._marker = [matrix.vocabulary[word] for word in marker]
        self._start = np.zeros(len(catalogue), dtype=matrix.data.dtype)
        if self._marker:  # its word stands in every title: added once here, not for every text
            matrix.add(self._start, self._marker)

    @classmethod
    def build(cls, catalogue: Catalogue, settings: IndexSettings) -> BM25:
        """Index the titles of a catalogue.

        Raises InputError when no title holds a word that is not a stop word, ConfigError when
        bm25s knows no stop words of that name.
        """
        start = MARKER if settings.marker else ""
        tokens = _tokenize([start + item.title for item in catalogue], settings.stopwords)
        if not set(tokens.vocab).difference(*_words([start], settings.stopwords)):
            raise InputError("no title of the catalogue holds a word to search for")
        library = bm25s.BM25(method="lucene", k1=settings.k1, b=settings.b)
        # From ids, not words: bm25s numbers words by way of a set, in another order each run.
        library.index(tokens, create_empty_token=False, show_progress=False)
        return cls(catalogue, _Matrix.of(library.scores, dict(tokens.vocab)), settings)

    def save(self, draft: Draft) -> None:
        """Write the matrix and the vocabulary into an index artefact."""
        for name in _ARRAYS:
            np.save(draft.path / f"{name}.npy", getattr(self._matrix, name), allow_pickle=False)
        draft.write_json(_VOCABULARY, self._matrix.vocabulary)

    @classmethod
    def load(cls, folder: Path, catalogue: Catalogue, settings: IndexSettings) -> BM25:
        """Read what `save` wrote."""
        arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in _ARRAYS}
        vocabulary = json.loads((folder / _VOCABULARY).read_bytes())
        return cls(catalogue, _Matrix.of(arrays, vocabulary), settings)

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        """See `Retriever.search`. Scores are BM25's; those of different texts do not compare.

        With the marker its word stands in every title, so a text with a known word always finds
        `k` items, the last of which may share nothing but the marker, as in the published system.
        """
        distinct = list(dict.fromkeys(texts))
        words = _words(distinct, self._stopwords)
        hits = {text: self._hits(known, k) for text, known in zip(distinct, words, strict=True)}
        return [hits[text] for text in texts]

    def _hits(self, words: Sequence[str], k: int) -> tuple[Hit, ...]:
        vocabulary = self._matrix.vocabulary
        known = [vocabulary[word] for word in words if word in vocabulary]
        if not set(known).difference(self._marker):
            return ()
        scores = self._start.copy()
        self._matrix.add(scores, known)
        rows = top_rows(scores, k)
        found = zip(rows.tolist(), scores[rows].tolist(), strict=True)
        return tuple(Hit(self._catalogue[row].id, row, score) for row, score in found)


def _words(texts: list[str], stopwords: str) -> list[list[str]]:
    """The words of each text, in order, repeats kept."""
    tokens = _tokenize(texts, stopwords)
    words = list(tokens.vocab)
    return [[words[number] for number in numbers] for numbers in tokens.ids]


def _tokenize(texts: list[str], stopwords: str) -> Any:
    try:
        return bm25s.tokenize(texts, stopwords=stopwords, show_progress=False)
    except ValueError as error:
        raise ConfigError(f"stopwords={stopwords!r}: {error}") from None
