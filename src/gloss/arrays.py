"""Arrays: types with their dtypes, ragged groups, and the best of many scores. Knows numbers only.

**Ragged.** Lists of different lengths lie one after the other in one flat array, and `lengths` says
how many elements each list has. Three lists of 2, 0 and 3 elements, for example:

    values    a  b  c  d  e      # (elements,)
    lengths   2  0  3            # (lists,)
    starts    0  2  2            # (lists,)     where each list begins
    owners    0  0  2  2  2      # (elements,)  which list an element is in
    ranks     0  1  0  1  2      # (elements,)  its place in that list

**Ties.** Wherever GLoSS orders by score, the higher score comes first, and of equal scores the
lower row, or where sales are known the item that is bought more. `top_rows` does it for one array
of scores, `gloss.retrieval.top_k` for many at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gloss.errors import ConfigError

__all__ = [
    "Array",
    "Bools",
    "Float64s",
    "Floats",
    "Ints",
    "owners_of",
    "ranks_of",
    "reduced_by_list",
    "require_positive",
    "slices_of",
    "starts_of",
    "top_rows",
]

Array = np.ndarray[Any, Any]
"""Of any dtype, where a function takes several."""

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float32]]
Float64s = np.ndarray[Any, np.dtype[np.float64]]

_MIN_GROUPS_PER_RESULT = 4
"""`_kth_highest` deals the scores to at least this many groups for each score it looks for."""


def starts_of(lengths: Ints) -> Ints:
    """int64 (lists,): where each list begins among the elements.

    >>> starts_of(np.array([2, 0, 3])).tolist()
    [0, 2, 2]
    """
    starts: Ints = np.cumsum(lengths) - lengths
    return starts


def owners_of(lengths: Ints) -> Ints:
    """int64 (elements,): which list each element is in.

    >>> owners_of(np.array([2, 0, 3])).tolist()
    [0, 0, 2, 2, 2]
    """
    return np.repeat(np.arange(len(lengths)), lengths)


def ranks_of(lengths: Ints) -> Ints:
    """int64 (elements,): the place of each element in its list, from 0 on.

    The number of the element, less the number of the first one in its list:

        number   0  1  2  3  4
        start    0  0  2  2  2       # starts, repeated by length
        rank     0  1  0  1  2

    >>> ranks_of(np.array([2, 0, 3])).tolist()
    [0, 1, 0, 1, 2]
    """
    starts = np.repeat(starts_of(lengths), lengths)
    ranks: Ints = np.arange(len(starts)) - starts
    return ranks


def slices_of(begins: Ints, lengths: Ints) -> Ints:
    """int64 (elements,): the numbers in many slices, each `begin, begin + 1, …` of its length.

    Reads lists out of a flat array in any order: of three lists that begin at 0, 2 and 2, the last
    one and then the first.

    >>> slices_of(np.array([2, 0]), np.array([3, 2])).tolist()
    [2, 3, 4, 0, 1]
    """
    numbers: Ints = np.repeat(begins, lengths) + ranks_of(lengths)
    return numbers


def reduced_by_list(reduce: np.ufunc, values: Array, lengths: Ints, *, empty: float = 0) -> Array:
    """(lists, …): what `reduce` makes of the elements of each list; `empty` for an empty one.

    values: (elements, …). `ufunc.reduceat` alone would answer an empty list with the first element
    of the next one, and fail where an empty list comes last.

    >>> reduced_by_list(np.maximum, np.array([5, 7, 1, 3, 2]), np.array([2, 0, 3])).tolist()
    [7, 0, 3]
    """
    filled = lengths > 0
    reduced = np.full((len(lengths), *values.shape[1:]), empty, dtype=values.dtype)
    if filled.any():
        reduced[filled] = reduce.reduceat(values, starts_of(lengths)[filled])
    return reduced


def top_rows(
    scores: Array, k: int, *, above: float = 0.0, times_bought: Ints | None = None
) -> Ints:
    """The rows of the `k` highest scores: highest first, equal scores by row.

    scores: shape (rows,). times_bought: int64 (rows,), by which equal scores stand before they do
    by row. Rows whose score is not above `above` found nothing and are left out, so
    fewer than `k` may come back. Raises ConfigError when `k` is below 1.

    >>> top_rows(np.array([0.0, 2.0, 5.0, 2.0, 1.0]), 2).tolist()
    [2, 1]
    >>> top_rows(np.array([0.0, 2.0, 5.0, 2.0]), 2, times_bought=np.array([9, 3, 0, 4])).tolist()
    [2, 3]
    """
    require_positive(k)
    rows = np.flatnonzero(scores > above)
    candidates = scores[rows]
    if candidates.size > k:
        # Everything that ties with the k-th stays until the sort: a partition alone would pick any.
        reaching = candidates >= _kth_highest(candidates, k)
        rows, candidates = rows[reaching], candidates[reaching]
    keys = (-candidates,) if times_bought is None else (-times_bought[rows], -candidates)
    ordered: Ints = rows[np.lexsort(keys)[:k]]  # stable, and by the last key first
    return ordered


def require_positive(k: int) -> None:
    """Raise ConfigError when `k`, the number of items to find, is below 1."""
    if k < 1:
        raise ConfigError(f"the number of items to find must be at least 1, not {k}")


def _kth_highest(scores: Array, k: int) -> Any:
    """The `k`-th highest of at least `k` scores.

    Dealt to groups, the scores' k-th highest is at least the k-th highest of the groups' maxima:
    k groups hold one score each that reaches it. So only scores that reach that bound are looked
    at, which takes a third of the time that a partition of all takes. For k = 2, five groups of 2:

        scores    1 4 | 9 2 | 3 3 | 8 7 | 0 5
        maxima      4     9     3     8     5       # the second highest is 8
        reaching        9           8               # the second highest of these is the answer
    """
    size = len(scores) // (_MIN_GROUPS_PER_RESULT * k)
    if size > 1:
        groups = len(scores) // size
        # Group g holds every groups-th score; the up to size - 1 left over can only raise the
        # answer, and are among the scores that are compared with the bound.
        maxima = scores[: groups * size].reshape(size, groups).max(axis=0)
        scores = scores[scores >= _kth_highest(maxima, k)]
    place = len(scores) - k
    return np.partition(scores, place)[place]
