"""The scores of BM25 and the best of them, compiled: for very many texts. Knows numbers only.

What it finds is what numpy finds in bm25.py, to the last bit. Nothing is done for a row that holds
no word of the text: a first walk over the entries of the words adds up, a second one chooses, and
takes away what it has seen, so that a row that comes again is passed by and the next text begins
afresh.

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

__all__ = ["best_by_words"]

_Function = TypeVar("_Function", bound=Callable[..., Any])

Floats = np.ndarray[Any, np.dtype[np.float32]]
Ints = np.ndarray[Any, Any]

Matrix = tuple[Floats, Ints, Ints]
"""data, float32 (entries,); indices, int32 (entries,); indptr, int64 (columns + 1,)."""

Found = tuple[Ints, Floats, Ints]
"""Rows and scores (texts, k), best first, and how many of a text's places are filled (texts,)."""

_PART = 2048
"""Texts of a part: enough for a thread to be worth its hand-over."""

_MOST_THREADS = 4

_LAST = np.int64(0x7FFFFFFF)
_TAKEN = 0


def _compiled(function: _Function) -> _Function:
    """Compile when first called; other threads run meanwhile. Kept on disk, as it takes seconds."""
    njit: Any = numba.njit
    made: _Function = njit(cache=True, nogil=True)(function)
    return made


def best_by_words(
    matrix: Matrix, start: Floats, known: Sequence[Sequence[int]], k: int
) -> Iterator[Found]:
    """The k best rows of every text, by score, then row; a part of the texts at a time, in order.

    matrix: compressed sparse columns, no data below 0. start: what the score of every row begins
    with (rows,), 0 or more. known: the columns of the words of each text; one without words finds
    nothing. Uses as many threads as there are cores, up to four.
    """
    k = min(k, len(start))
    untouched = np.argsort(-start, kind="stable")[: np.count_nonzero(start)]
    parts = (known[first : first + _PART] for first in range(0, len(known), _PART))
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as pool:
        yield from pool.map(lambda part: _best(matrix, start, untouched, part, k), parts)


def _best(
    matrix: Matrix, start: Floats, untouched: Ints, known: Sequence[Sequence[int]], k: int
) -> Found:
    columns = np.fromiter(chain.from_iterable(known), dtype=np.int64)
    ends = np.cumsum([len(words) for words in known])
    rows, bits = np.empty((2, len(known), k), dtype=np.int32)
    counts = np.zeros(len(known), dtype=np.int64)
    data, indices, indptr = matrix
    entries = data, indices.view(np.uint32), indptr
    _search(*entries, start, untouched, columns, ends, rows, bits, counts)
    return rows, bits.view(np.float32), counts


@_compiled
def _search(
    data: Floats,
    indices: Ints,
    indptr: Ints,
    start: Floats,
    untouched: Ints,
    columns: Ints,
    ends: Ints,
    rows: Ints,
    bits: Ints,
    counts: Ints,
) -> None:
    """Fill rows, bits (of scores) and counts. untouched: rows that begin above 0, best first."""
    scores, heap = start.copy(), np.empty(rows.shape[1], np.int64)
    first = 0
    for text in range(len(ends)):
        words = columns[first : ends[text]]
        first = ends[text]
        if len(words):
            _add(data, indices, indptr, words, scores)
            size = _choose(indices, indptr, words, scores.view(np.int32), untouched, heap)
            _drain(heap, size, rows[text], bits[text])
            counts[text] = size
            if len(untouched):
                _begin(indices, indptr, words, scores, start)


@_compiled
def _add(data: Floats, indices: Ints, indptr: Ints, words: Ints, scores: Floats) -> None:
    """Add up in the order of the words, as bm25s does."""
    for word in words:
        for place in range(indptr[word], indptr[word + 1]):
            scores[indices[place]] += data[place]


@_compiled
def _choose(
    indices: Ints, indptr: Ints, words: Ints, bits: Ints, untouched: Ints, heap: Ints
) -> int:
    """Put the keys of the best rows on the heap, the least of them on top; how many.

    bits: of the scores. Those of rows that hold a word are taken.
    """
    size, floor = 0, _TAKEN + 1
    for word in words:
        for place in range(indptr[word], indptr[word + 1]):
            row = indices[place]
            if bits[row] >= floor:
                size = _offer(heap, size, _key(bits, row))
                floor = _floor(heap, size)
            bits[row] = _TAKEN
    for row in untouched:
        if bits[row] != _TAKEN:
            if size == len(heap) and _key(bits, row) < heap[0]:
                break
            size = _offer(heap, size, _key(bits, row))
    return size


@_compiled
def _floor(heap: Ints, size: int) -> int:
    """The least bits of a score that may be among the best."""
    return heap[0] >> 32 if size == len(heap) else _TAKEN + 1


@_compiled
def _begin(indices: Ints, indptr: Ints, words: Ints, scores: Floats, start: Floats) -> None:
    """Give back to the rows that were taken what they begin with."""
    for word in words:
        for place in range(indptr[word], indptr[word + 1]):
            scores[indices[place]] = start[indices[place]]


@_compiled
def _key(bits: Ints, row: int) -> int:
    """A whole number that is larger for a higher score and, of equal scores, for a lower row.

    The bits of a float32 that is not negative ascend with it.
    """
    return int((np.int64(bits[row]) << 32) | (_LAST - row))


@_compiled
def _offer(heap: Ints, size: int, key: int) -> int:
    """Add a key, in the place of the least one when the heap is full; the new size."""
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
def _sink(heap: Ints, size: int, key: int) -> None:
    """Put a key in the place of the one on top, and then where it belongs."""
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
def _drain(heap: Ints, size: int, rows: Ints, bits: Ints) -> None:
    """Take the keys from the heap, the least first, and write them from the last place on."""
    for place in range(size - 1, -1, -1):
        key = heap[0]
        rows[place], bits[place] = _LAST - (key & _LAST), key >> 32
        _sink(heap, place, heap[place])
