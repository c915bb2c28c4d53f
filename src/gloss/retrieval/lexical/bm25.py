"""Lexical search: BM25, with bm25s for the words and the matrix. Knows catalogues; no users.

The score of a title t for a text q is bm25s's "lucene" (Lù, arXiv 2407.03618; the variant that
Kamphuis et al., ECIR 2020, call "Lucene (accurate)"), without stemming, as in the published GLoSS:

    score(q, t) = Σ_{w in q} idf(w) · tf(w, t) / (tf(w, t) + k1 · (1 - b + b · |t| / mean |t|))
    idf(w)      = ln(1 + (N - n(w) + 0.5) / (n(w) + 0.5))

tf(w, t) is how often the word w is in t, |t| the number of words of t, N the number of titles, n(w)
how many of them hold w. A word that is in q twice counts twice. Each summand depends on w and t
only, so all of them are computed once, as a sparse matrix (words, titles), and a search adds up a
few of its columns.

Three things differ from bm25s's own `retrieve`: equal scores are ordered by row, a text without a
known word finds nothing (bm25s returns the first items, with score 0), and equal texts are searched
once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from gloss.arrays import Array, require_positive
from gloss.artifacts import Artifact, Draft
from gloss.artifacts.content import read_array, read_json, require, require_rising
from gloss.data.catalogue import Catalogue
from gloss.errors import ConfigError, InputError
from gloss.progress import Progress
from gloss.retrieval.lexical.bm25s_import import import_bm25s
from gloss.retrieval.lexical.words import WordRule, words_of
from gloss.retrieval.retriever import Hit, RetrieverSpec, StoredRetriever
from gloss.retrieval.settings import BM25Settings
from gloss.retrieval.top_k import best_rows, group_count, round_up

__all__ = ["BM25", "COMPILED_FROM", "MARKER", "SPEC", "known_words"]

MARKER = "Title: "
"""What the published system writes before every title, in its index and in its queries."""

_ARRAYS = ("data", "indices", "indptr")
_VOCABULARY = "vocabulary.json"


_BATCH_TEXTS = 64
"""Texts scored at a time: 3 MB of scores for 12,000 items, which are still in cache when the best
are chosen."""

COMPILED_FROM = 10_000
"""Distinct texts from which compiled code is used, if numba is installed. numba needs 0.2 s to
start, and two seconds to compile on its first use; a text gains 20 microseconds (docs/log.md)."""

_LEAST_POSITIVE = np.nextafter(np.float32(0), np.float32(1))

_Best = tuple[Array, Array, Array]
"""Rows and scores (texts, at most k), best first, and how many places of a text are filled."""

_hit = partial(tuple.__new__, Hit)
"""Makes a Hit in half the time of its own `__new__`; there are hundreds of thousands of hits."""


@dataclass(frozen=True, slots=True)
class _Matrix:
    """Compressed sparse columns: what each word (column) adds to the score of each title (row).

    data: float32 (entries,); indices: int32 (entries,), rows; indptr: int64 (words + 1,), where
    each column begins. vocabulary: word -> column. Two words, of which the first is in the titles
    0 and 2 and the second in title 1:

        data     .5 .3 .9
        indices  0  2  1
        indptr   0     2  3

    rows, addends: the same as one array a column, for numpy: [0, 2], [1] and [.5, .3], [.9].
    """

    data: Array
    indices: Array
    indptr: Array
    vocabulary: Mapping[str, int]
    rows: tuple[Array, ...]
    addends: tuple[Array, ...]

    @classmethod
    def of(cls, arrays: Mapping[str, Any], vocabulary: Mapping[str, int]) -> _Matrix:
        data, indices, indptr = (arrays[name] for name in _ARRAYS)
        columns = [slice(*ends) for ends in pairwise(indptr.tolist())]
        native = indices.astype(np.intp)  # `np.add.at` is slow with any other integer type
        rows, addends = (tuple(each[column] for column in columns) for each in (native, data))
        return cls(data, indices, indptr, vocabulary, rows, addends)

    def add(self, scores: Array, columns: Sequence[int]) -> None:
        """Add columns to `scores` (rows,) in place; a column named twice counts twice."""
        rows = np.concatenate([self.rows[column] for column in columns])
        # One call for all words is fastest. It adds in the order of the words, as bm25s does, so
        # that the floats are the same to the last bit.
        np.add.at(scores, rows, np.concatenate([self.addends[column] for column in columns]))


class BM25:
    """The lexical retriever; make one with `build` or `load`."""

    def __init__(self, catalogue: Catalogue, matrix: _Matrix, settings: BM25Settings) -> None:
        self._matrix = matrix
        self._items = np.array([item.id for item in catalogue], dtype=object)
        self._rule = settings.words
        self._marker = known_words(MARKER, matrix.vocabulary) if settings.marker else []
        # What the scores of every text begin with, and room for a whole number of groups.
        self._initial = np.zeros(round_up(len(catalogue)), dtype=np.float32)
        if self._marker:  # the marker's word is in every title: added once, not for every text
            matrix.add(self._initial, self._marker)

    @classmethod
    def build(cls, catalogue: Catalogue, settings: BM25Settings) -> BM25:
        """Index the titles of a catalogue.

        Raises InputError when no title holds a word that is not a stop word, ConfigError when
        bm25s knows no stop words of that name.
        """
        marker = MARKER if settings.marker else ""
        tokens = _tokenize([marker + item.title for item in catalogue], settings)
        if not set(tokens.vocab).difference(_tokenize([marker], settings).vocab):
            raise InputError("no title of the catalogue holds a word to search for")
        library = import_bm25s().BM25(method="lucene", k1=settings.k1, b=settings.b)
        # From ids, not words: bm25s would number words in the order of a set, which differs by run.
        library.index(tokens, create_empty_token=False, show_progress=False)
        return cls(catalogue, _Matrix.of(library.scores, dict(tokens.vocab)), settings)

    def save(self, draft: Draft) -> None:
        """Write the matrix and the vocabulary into an index artefact."""
        for name in _ARRAYS:
            np.save(draft.path / f"{name}.npy", getattr(self._matrix, name), allow_pickle=False)
        draft.write_json(_VOCABULARY, self._matrix.vocabulary)

    @classmethod
    def load(cls, artifact: Artifact, catalogue: Catalogue, settings: BM25Settings) -> BM25:
        """Read what `save` wrote; ValueError for anything else."""
        files = {name: artifact.file(f"{name}.npy") for name in _ARRAYS}
        data = read_array(files["data"], dtype=np.float32, shape=(None,))
        indices = read_array(files["indices"], dtype=np.int32, shape=data.shape)
        in_catalogue = (indices >= 0) & (indices < len(catalogue))
        require(bool(in_catalogue.all()), files["indices"], "a row is not in the catalogue")
        vocabulary = _vocabulary_in(artifact.file(_VOCABULARY))
        indptr = read_array(files["indptr"], dtype=np.int64, shape=(len(vocabulary) + 1,))
        require_rising(indptr, files["indptr"], first=0, last=len(data))
        arrays = {"data": data, "indices": indices, "indptr": indptr}
        return cls(catalogue, _Matrix.of(arrays, vocabulary), settings)

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        """See `Retriever.search`. Scores are BM25's; those of different texts do not compare.

        The marker's word is in every title. So with the marker a text with a known word always
        finds `k` items, the last of which may share nothing but the marker, as in the published
        system.
        """
        require_positive(k)
        distinct = dict.fromkeys(texts)
        columns = [self._columns(text) for text in distinct]
        hits_of = dict(zip(distinct, self._hits(columns, k), strict=True))
        return [hits_of[text] for text in texts]

    def _columns(self, text: str) -> list[int]:
        """The columns of a text's words; none for a text that has no known word but the marker."""
        columns = known_words(text, self._matrix.vocabulary, self._rule)
        return columns if not self._marker or set(columns).difference(self._marker) else []

    def _hits(self, columns: Sequence[Sequence[int]], k: int) -> Iterator[tuple[Hit, ...]]:
        """The hits of each text, given by the columns of its words."""
        for rows, scores, counts in self._best(columns, k):
            # One conversion for all texts: counts 2, 1 of a table (texts, 2) keep
            #     rows  7 4        filled  1 1        rows[filled]  7 4 9
            #           9 _                1 0
            filled = np.arange(rows.shape[1]) < counts[:, None]
            rows, scores = rows[filled], scores[filled]
            items = self._items[rows].tolist()
            hits = map(_hit, zip(items, rows.tolist(), scores.tolist(), strict=True))
            yield from (tuple(islice(hits, count)) for count in counts.tolist())

    def _best(self, columns: Sequence[Sequence[int]], k: int) -> Iterator[_Best]:
        """The best rows of each text, some texts at a time, in order."""
        compiled = _compiled() if len(columns) >= COMPILED_FROM else None
        if compiled:
            matrix = self._matrix.data, self._matrix.indices, self._matrix.indptr
            return compiled(matrix, self._initial[: len(self._items)], columns, k)
        return self._best_by_numpy(columns, k)

    def _best_by_numpy(self, columns: Sequence[Sequence[int]], k: int) -> Iterator[_Best]:
        shape = (min(_BATCH_TEXTS, len(columns)), len(self._initial))
        buffer = np.empty(shape, dtype=np.float32)
        for start in range(0, len(columns), _BATCH_TEXTS):
            batch = columns[start : start + _BATCH_TEXTS]
            scores = buffer[: len(batch)]  # (texts, rows, rounded up)
            self._score(batch, scores)
            of_text, rows = _candidates(scores, k)  # (pairs,)
            found = scores[of_text, rows]
            yield best_rows(of_text, rows, found, queries=len(batch), k=k)

    def _score(self, columns: Sequence[Sequence[int]], scores: Array) -> None:
        """Fill `scores` (texts, rows); those of a text without a known word are 0."""
        scores[:] = self._initial
        for line, words in zip(scores, columns, strict=True):
            if words:
                self._matrix.add(line, words)
            else:
                line[:] = 0


def _vocabulary_in(file: Path) -> dict[str, int]:
    vocabulary = read_json(file, dict)
    columns = sorted(column for column in vocabulary.values() if type(column) is int)
    require(columns == [*range(len(vocabulary))], file, "its words do not number the columns")
    return vocabulary


def _compiled() -> Callable[..., Iterator[_Best]] | None:
    """The faster search; None without a numba that fits numpy and can keep what it compiles."""
    try:
        from gloss.retrieval.lexical.bm25_kernel import best_by_words
    except (ImportError, RuntimeError):
        return None
    return best_by_words


def _candidates(scores: Array, k: int) -> tuple[Array, Array]:
    """(text, row) of all scores above 0 that may be among the k best of their text.

    scores: (texts, rows). See `top_k` for the groups; row r is in group r % groups, because maxima
    over the first axis of (rows / groups, groups) are taken fastest.
    """
    groups = scores.reshape(len(scores), -1, group_count(scores.shape[1], k))
    maxima = groups.max(axis=1)  # (texts, groups)
    bound = np.full(len(scores), _LEAST_POSITIVE)
    if maxima.shape[1] >= k:
        np.maximum(bound, np.partition(maxima, -k, axis=1)[:, -k], out=bound)
    text, group = np.nonzero(maxima >= bound[:, None])  # groups to look into
    pair, place = np.nonzero(groups[text, :, group] >= bound[text][:, None])
    return text[pair], place * groups.shape[2] + group[pair]


def known_words(
    text: str, vocabulary: Mapping[str, int], rule: WordRule = "any-script"
) -> list[int]:
    """The columns of a text's known words, in order, repeats kept. Stop words are in no vocabulary.

    >>> known_words("The red KITE, a red one", {"kite": 0, "red": 1})
    [1, 0, 1]
    """
    return [vocabulary[word] for word in words_of(rule)(text) if word in vocabulary]


def _tokenize(texts: list[str], settings: BM25Settings) -> Any:
    """bm25s's own numbers for our words, which are handed over with spaces between them."""
    spaced = [" ".join(words_of(settings.words)(text)) for text in texts]
    try:
        return import_bm25s().tokenize(
            spaced, stopwords=settings.stopwords, token_pattern=r"\S+", show_progress=False
        )
    except ValueError as error:
        raise ConfigError(f"stopwords={settings.stopwords!r}: {error}") from None


def _build(
    catalogue: Catalogue,
    settings: BM25Settings,
    *,
    previous: StoredRetriever | None,
    progress: Progress,
) -> BM25:
    """Always anew: every word's weight depends on all titles."""
    return BM25.build(catalogue, settings)


SPEC = RetrieverSpec(
    name="bm25",
    label="BM25",
    settings=BM25Settings,
    build=_build,
    load=BM25.load,
)
