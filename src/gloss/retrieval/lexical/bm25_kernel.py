"""BM25's scores and the best of them, compiled, for very many texts. Knows numbers only.

The result is that of numpy in bm25.py, to the last bit. Rows that hold no word of the text cost
nothing, because both passes go over the columns of the text's words only. For a text of the words
w (in rows 0, 2) and v (in rows 2, 3):

    scores at first   0   0   0   0
    after pass 1     .5   0  .9  .4       # _add: the columns are added
    pass 2 visits    row 0, 2, 2, 3       # _choose: each row is offered to the heap of the k best
    and leaves        0   0   0   0       # and set to 0 at once

Setting a visited row to 0 does three things: row 2, which comes twice, is offered once; the scores
are ready for the next text; and no list of visited rows is needed. With the marker, which is in
every title, all rows begin above 0. Those without a word of the text are then offered in order of
their initial score, until one is worse than the worst of k (`untouched`), and `_restore` gives the
visited rows their initial scores back.

The heap holds int64 keys, score bits above, row below, so that one comparison of whole numbers
orders by score, then row.

Needs numba: importing raises ImportError without it, RuntimeError where what is compiled cannot be
kept (neither this folder, nor the user's cache, nor NUMBA_CACHE_DIR can be written to).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, TypeVar

import numba
import numpy as np

from gloss.arrays import Array, Floats

__all__ = ["best_by_words"]

_Function = TypeVar("_Function", bound=Callable[..., Any])

Matrix = tuple[Floats, Array, Array]
"""data, float32 (entries,); indices, int32 (entries,); indptr, int64 (columns + 1,)."""

Best = tuple[Array, Floats, Array]
"""Rows and scores (texts, k), best first, and how many places of a text are filled (texts,)."""

_BATCH_TEXTS = 2048
"""Texts given to a thread at a time: enough to be worth the hand-over."""

_MAX_THREADS = 4

_MAX_ROW = np.int64(0x7FFFFFFF)

_VISITED = 0
"""The bits of the score 0: of a row that has been visited, or that no word is in."""


def _compiled(function: _Function) -> _Function:
    """Compile on the first call; the result is kept on disk, because compiling takes seconds.

    nogil: several threads search at the same time.
    """
    njit: Any = numba.njit
    compiled: _Function = njit(cache=True, nogil=True)(function)
    return compiled


def best_by_words(
    matrix: Matrix, initial: Floats, columns: Sequence[Sequence[int]], k: int
) -> Iterator[Best]:
    """The k best rows of every text, by score, then row; a batch of texts at a time, in order.

    matrix: compressed sparse columns, no data below 0. initial: (rows,) the score that every row
    begins with, 0 or more. columns: the columns of the words of each text; a text without words
    finds nothing. Uses one thread a core, up to four.
    """
    k = min(k, len(initial))
    untouched = np.argsort(-initial, kind="stable")[: np.count_nonzero(initial)]
    starts = range(0, len(columns), _BATCH_TEXTS)
    batches = (columns[start : start + _BATCH_TEXTS] for start in starts)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MAX_THREADS)) as pool:
        yield from pool.map(lambda batch: _best(matrix, initial, untouched, batch, k), batches)


def _best(
    matrix: Matrix, initial: Floats, untouched: Array, columns: Sequence[Sequence[int]], k: int
) -> Best:
    words = np.fromiter(chain.from_iterable(columns), dtype=np.int64)  # (words of all texts,)
    ends = np.cumsum([len(each) for each in columns])  # (texts,)
    rows, bits = np.empty((2, len(columns), k), dtype=np.int32)
    counts = np.zeros(len(columns), dtype=np.int64)
    data, indices, indptr = matrix
    # Unsigned, so that numba adds no code for negative numbers, which count from the end.
    entries = data, indices.view(np.uint32), indptr
    _search(*entries, initial, untouched, words, ends, rows, bits, counts)
    return rows, bits.view(np.float32), counts


@_compiled
def _search(
    data: Floats,
    indices: Array,
    indptr: Array,
    initial: Floats,
    untouched: Array,
    words: Array,
    ends: Array,
    rows: Array,
    bits: Array,
    counts: Array,
) -> None:
    """Fill rows and bits (of scores), (texts, k), and counts, (texts,).

    words: the columns of all texts' words, one text after the other; ends: (texts,) where each text
    ends in it. untouched: the rows whose initial score is above 0, best first.
    """
    scores, heap = initial.copy(), np.empty(rows.shape[1], np.int64)
    start = 0
    for text in range(len(ends)):
        own = words[start : ends[text]]
        start = ends[text]
        if len(own):
            _add(data, indices, indptr, own, scores)
            size = _choose(indices, indptr, own, scores.view(np.int32), untouched, heap)
            _drain(heap, size, rows[text], bits[text])
            counts[text] = size
            if len(untouched):
                _restore(indices, indptr, own, scores, initial)


@_compiled
def _add(data: Floats, indices: Array, indptr: Array, words: Array, scores: Floats) -> None:
    """Pass 1: add the columns in the order of the words, as bm25s does."""
    for word in words:
        for entry in range(indptr[word], indptr[word + 1]):
            scores[indices[entry]] += data[entry]


@_compiled
def _choose(
    indices: Array, indptr: Array, words: Array, bits: Array, untouched: Array, heap: Array
) -> int:
    """Pass 2: put the keys of the best rows on the heap; returns how many.

    bits: (rows,) int32, of the scores. Those of rows that hold a word are set to `_VISITED`.
    """
    size, bound = 0, _VISITED + 1
    for word in words:
        for entry in range(indptr[word], indptr[word + 1]):
            row = indices[entry]
            if bits[row] >= bound:
                size = _offer(heap, size, _key(bits, row))
                bound = _bound(heap, size)
            bits[row] = _VISITED
    for row in untouched:
        if bits[row] != _VISITED:
            if size == len(heap) and _key(bits, row) < heap[0]:
                break
            size = _offer(heap, size, _key(bits, row))
    return size


@_compiled
def _bound(heap: Array, size: int) -> int:
    """The lowest score, as bits, that may be among the best."""
    return heap[0] >> 32 if size == len(heap) else _VISITED + 1


@_compiled
def _restore(indices: Array, indptr: Array, words: Array, scores: Floats, initial: Floats) -> None:
    """Give the visited rows their initial scores back."""
    for word in words:
        for entry in range(indptr[word], indptr[word + 1]):
            scores[indices[entry]] = initial[indices[entry]]


@_compiled
def _key(bits: Array, row: int) -> int:
    """A number that is larger for a higher score and, of equal scores, for a lower row.

    The bits of a float32 that is not negative ascend with it: the score 1.0 in row 2 is
    0x3F800000 << 32 | 0x7FFFFFFD.
    """
    return int((np.int64(bits[row]) << 32) | (_MAX_ROW - row))


# A binary heap with its least key on top: heap[i] <= heap[2 i + 1] and heap[i] <= heap[2 i + 2].


@_compiled
def _offer(heap: Array, size: int, key: int) -> int:
    """Add a key, instead of the least one if the heap is full; returns the new size."""
    if size == len(heap):
        if key > heap[0]:
            _sink(heap, size, key)
        return size
    place = size
    while place and heap[(place - 1) // 2] > key:
        heap[place] = heap[(place - 1) // 2]
        place = (place - 1) // 2
    heap[place] = key
    return size + 1


@_compiled
def _sink(heap: Array, size: int, key: int) -> None:
    """Replace the key on top, and move the new one down to where it belongs."""
    place, child = 0, 1
    while child < size:
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= key:
            break
        heap[place] = heap[child]
        place, child = child, 2 * child + 1
    heap[place] = key


@_compiled
def _drain(heap: Array, size: int, rows: Array, bits: Array) -> None:
    """Empty the heap, least key first, into rows and bits, from the last place to the first."""
    for place in range(size - 1, -1, -1):
        key = heap[0]
        rows[place], bits[place] = _MAX_ROW - (key & _MAX_ROW), key >> 32
        _sink(heap, place, heap[place])
