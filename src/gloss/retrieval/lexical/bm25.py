"""Search by words: BM25, with bm25s for the words and the matrix. Knows catalogues; no users.

The formula is bm25s's "lucene" (Kamphuis et al., ECIR 2020), without stemming, as in the published
GLoSS. Three things differ from bm25s's own `retrieve`: equal scores are ordered by row, a text
without a known word finds nothing (bm25s returns the first items, with score 0), and equal texts
are searched once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from gloss.artifacts import Draft
from gloss.data.catalogue import Catalogue
from gloss.errors import ConfigError, InputError
from gloss.retrieval.lexical.bm25s_import import import_bm25s
from gloss.retrieval.retriever import Hit, IndexSettings
from gloss.retrieval.top_k import best_rows, group_count, round_up

__all__ = ["BM25", "COMPILED_FROM", "MARKER", "known_words"]

bm25s = import_bm25s()

MARKER = "Title: "
"""What the published system writes before every title, in its index and in its queries."""

_ARRAYS = ("data", "indices", "indptr")
_VOCABULARY = "vocabulary.json"


_split = re.compile(r"(?u)\b\w\w+\b").findall
"""How bm25s finds the words of a text, after making it lower case."""

_BATCH = 64
"""Texts scored at a time: 3 MB of scores for 12,000 items, in cache when they are chosen from."""

COMPILED_FROM = 10_000
"""Distinct texts from which compiled code is used, where numba is installed. numba needs 0.2 s to
start, and once in its life two seconds to compile; a text gains 20 microseconds (docs/log.md)."""

_LEAST = np.nextafter(np.float32(0), np.float32(1))

_Found = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]
"""Rows and scores (texts, at most k), best first, and how many of a text's places are filled."""

_hit = partial(tuple.__new__, Hit)
"""Hit's own `__new__` takes twice as long, and there are hundreds of thousands of hits."""


@dataclass(frozen=True, slots=True)
class _Matrix:
    """Compressed sparse columns: what each word (column) adds to the score of each title (row).

    data: float32 (entries,); indices: int32 (entries,), rows; indptr: int64 (words + 1,), where
    each column begins. vocabulary: word -> column. rows, adds: indices and data of each column.
    """

    data: np.ndarray[Any, Any]
    indices: np.ndarray[Any, Any]
    indptr: np.ndarray[Any, Any]
    vocabulary: Mapping[str, int]
    rows: tuple[np.ndarray[Any, Any], ...]
    adds: tuple[np.ndarray[Any, Any], ...]

    @classmethod
    def of(cls, arrays: Mapping[str, Any], vocabulary: Mapping[str, int]) -> _Matrix:
        data, indices, indptr = (arrays[name] for name in _ARRAYS)
        ends = [slice(*ends) for ends in pairwise(indptr.tolist())]
        places = indices.astype(np.intp)  # what numpy counts in: `add.at` is slow with any other
        rows, adds = (tuple(each[end] for end in ends) for each in (places, data))
        return cls(data, indices, indptr, vocabulary, rows, adds)

    def add(self, scores: np.ndarray[Any, Any], columns: Sequence[int]) -> None:
        """Add the columns to the scores of all rows; a column named twice counts twice."""
        rows = np.concatenate([self.rows[column] for column in columns])
        # One call, in the order of the words: as fast as it gets, and the floats of bm25s.
        np.add.at(scores, rows, np.concatenate([self.adds[column] for column in columns]))


class BM25:
    """A retriever by words; make one with `build` or `load`."""

    def __init__(self, catalogue: Catalogue, matrix: _Matrix, settings: IndexSettings) -> None:
        self._matrix = matrix
        self._items = np.array([item.id for item in catalogue], dtype=object)
        self._marker = known_words(MARKER, matrix.vocabulary) if settings.marker else []
        self._start = np.zeros(round_up(len(catalogue)), dtype=matrix.data.dtype)
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
        if not set(tokens.vocab).difference(_tokenize([start], settings.stopwords).vocab):
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
        if k < 1:
            raise ConfigError(f"the number of items to find must be at least 1, not {k}")
        distinct = dict.fromkeys(texts)
        known = [self._columns(text) for text in distinct]
        hits_of = dict(zip(distinct, self._hits(known, k), strict=True))
        return [hits_of[text] for text in texts]

    def _columns(self, text: str) -> list[int]:
        """Of the words of a text; none where it knows but the marker."""
        known = known_words(text, self._matrix.vocabulary)
        return known if not self._marker or set(known).difference(self._marker) else []

    def _hits(self, known: Sequence[Sequence[int]], k: int) -> Iterator[tuple[Hit, ...]]:
        """What each text finds, given as the columns of its words."""
        for rows, scores, counts in self._found(known, k):
            filled = np.arange(rows.shape[1]) < counts[:, None]
            rows, scores = rows[filled], scores[filled]
            items = self._items[rows].tolist()
            hits = map(_hit, zip(items, rows.tolist(), scores.tolist(), strict=True))
            yield from (tuple(islice(hits, count)) for count in counts.tolist())

    def _found(self, known: Sequence[Sequence[int]], k: int) -> Iterator[_Found]:
        compiled = _compiled() if len(known) >= COMPILED_FROM else None
        if compiled:
            matrix = self._matrix.data, self._matrix.indices, self._matrix.indptr
            return compiled(matrix, self._start[: len(self._items)], known, k)
        return self._found_by_numpy(known, k)

    def _found_by_numpy(self, known: Sequence[Sequence[int]], k: int) -> Iterator[_Found]:
        buffer = np.empty((min(_BATCH, len(known)), len(self._start)), dtype=self._start.dtype)
        for start in range(0, len(known), _BATCH):
            part = known[start : start + _BATCH]
            scores = buffer[: len(part)]
            self._score(part, scores)
            of_query, rows = _reaching(scores, k)
            found = scores[of_query, rows]
            yield best_rows(of_query, rows, found, queries=len(part), k=k)

    def _score(self, known: Sequence[Sequence[int]], scores: np.ndarray[Any, Any]) -> None:
        """Fill a line of scores for each text; those of a text without a known word are 0."""
        scores[:] = self._start
        for line, columns in zip(scores, known, strict=True):
            if columns:
                self._matrix.add(line, columns)
            else:
                line[:] = 0


def _compiled() -> Callable[..., Iterator[_Found]] | None:
    """What finds the same faster; None without a numba that fits numpy and can keep its work."""
    try:
        from gloss.retrieval.lexical.bm25_kernel import best_by_words
    except (ImportError, RuntimeError):
        return None
    return best_by_words


def _reaching(scores: np.ndarray[Any, Any], k: int) -> tuple[Any, Any]:
    """Lines and columns of all scores above 0 that may be among the k best of their line."""
    groups = scores.reshape(len(scores), -1, group_count(scores.shape[1], k))
    highest = groups.max(axis=1)
    floor = np.full(len(scores), _LEAST)
    if highest.shape[1] >= k:
        np.maximum(floor, np.partition(highest, -k, axis=1)[:, -k], out=floor)
    line, group = np.nonzero(highest >= floor[:, None])
    pair, place = np.nonzero(groups[line, :, group] >= floor[line][:, None])
    return line[pair], place * groups.shape[2] + group[pair]


def known_words(text: str, vocabulary: Mapping[str, int]) -> list[int]:
    """The columns of a text's known words, in order, repeats kept. Stop words are never known.

    Words are those of `bm25s.tokenize`.
    """
    return [vocabulary[word] for word in _split(text.lower()) if word in vocabulary]


def _tokenize(texts: list[str], stopwords: str) -> Any:
    try:
        return bm25s.tokenize(texts, stopwords=stopwords, show_progress=False)
    except ValueError as error:
        raise ConfigError(f"stopwords={stopwords!r}: {error}") from None
