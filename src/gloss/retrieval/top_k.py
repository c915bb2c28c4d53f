"""The best rows for many queries at once, by the rule of `gloss.arrays.top_rows`: score, then row.

Knows numbers only. Searching has two steps, which both searches of GLoSS share (`lexical/bm25.py`,
`dense/blocked.py`): a cheap bound leaves few (query, row) pairs, and `best_rows` orders these.

The bound comes from groups. Of 8 scores in 4 groups, where k = 2:

    scores    1 7 | 6 2 | 0 3 | 4 4
    maxima      7     6     3     4      # the second highest is 6: two scores reach 6
    kept        7     6                  # whatever is below 6 cannot be among the best two

Only groups whose maximum reaches the bound are looked into: the maxima take one pass over the
scores that any processor does at the speed of its memory, and hardly any group reaches the bound.
"""

from __future__ import annotations

import numpy as np

from gloss.arrays import Floats, Ints, ranks_of

__all__ = ["MIN_GROUPS", "best_rows", "group_count", "round_up"]

MIN_GROUPS = 512
"""Groups that the scores of a query are dealt to, at least. Fewer groups leave more scores to look
at; more groups are slower to choose from."""

_GROUPS_PER_RESULT = 8
"""Groups for each of the k best, so that few of these share a group."""

_LAST_KEY = np.iinfo(np.int64).max
_ROW_BITS = 0xFFFFFFFF
_ALL_BUT_SIGN = 0x7FFFFFFF


def round_up(rows: int) -> int:
    """The next multiple of MIN_GROUPS: how many scores a query must be given room for.

    >>> round_up(1), round_up(512), round_up(513)
    (512, 512, 1024)
    """
    return -(-rows // MIN_GROUPS) * MIN_GROUPS


def group_count(width: int, k: int) -> int:
    """How many groups to deal `width` scores to, a multiple of MIN_GROUPS, to find the `k` best.

    Groups have equal size, so their number divides `width`. Where there cannot be `k` groups, each
    score is a group of its own.

    >>> group_count(16_384, 20), group_count(16_384, 100), group_count(1536, 1000)
    (512, 1024, 1536)
    """
    count = MIN_GROUPS
    while count < _GROUPS_PER_RESULT * k and width % (2 * count) == 0:
        count *= 2
    return width if count < k else count


def best_rows(
    of_query: Ints, rows: Ints, scores: Floats, *, queries: int, k: int
) -> tuple[Ints, Floats, Ints]:
    """The k best of the rows that were found for each query.

    of_query, rows, scores: (pairs,), a query, a row and its score, in any order; no pair twice.
    Returns rows int64 (queries, width) and scores float32 (queries, width), best first, and counts
    int64 (queries,): only the first `counts` places of a query are filled. width is at most k.

    >>> of_query, rows = np.array([0, 1, 0, 0, 1]), np.array([7, 3, 2, 5, 9])
    >>> scores = np.array([0.5, 2.0, 0.5, 0.9, 3.0], dtype=np.float32)
    >>> best, values, counts = best_rows(of_query, rows, scores, queries=2, k=2)
    >>> best.tolist(), counts.tolist()
    ([[5, 2], [9, 3]], [2, 2])
    """
    counts = np.bincount(of_query, minlength=queries)
    keys = np.sort(_one_line_a_query(_keys(scores, rows), of_query, counts), axis=1)[:, :k]
    return keys & _ROW_BITS, _scores_in(keys), np.minimum(counts, k)


def _keys(scores: Floats, rows: Ints) -> Ints:
    """int64 (pairs,): numbers that sort as (highest score, lowest row) does.

    One sort of whole numbers is several times as fast as a sort by two keys. The upper 32 bits are
    the score's, turned over so that the highest comes first; the lower 32 are the row.

    The bits of a float32, read as an int32, ascend with it where it is positive, and descend where
    it is negative. There all bits but the sign are turned over:

        score     -2.0        -1.0        0.0   1.0         2.0
        bits      0xC0000000  0xBF800000  0     0x3F800000  0x40000000     # -1.0 below -2.0
        ascending 0xBFFFFFFF  0xC07FFFFF  0     0x3F800000  0x40000000     # as signed numbers
    """
    bits = (scores + np.float32(0)).view(np.int32)  # + 0 makes a negative zero positive
    return ~_turned_if_negative(bits).astype(np.int64) << 32 | rows


def _scores_in(keys: Ints) -> Floats:
    """The scores that `_keys` put into the upper bits."""
    ascending = (~(keys >> 32)).astype(np.int32)
    scores: Floats = _turned_if_negative(ascending).view(np.float32)
    return scores


def _turned_if_negative(
    bits: np.ndarray[tuple[int, ...], np.dtype[np.int32]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """All bits but the sign turned over where it is set; doing it twice changes nothing.

    `bits >> 31` is -1, all ones, where the sign is set, and 0 elsewhere.
    """
    return bits ^ ((bits >> 31) & np.int32(_ALL_BUT_SIGN))


def _one_line_a_query(keys: Ints, of_query: Ints, counts: Ints) -> Ints:
    """(queries, most keys of a query): each query's keys in a line, then the highest number.

    of_query  0 1 0 0 1           order  0 2 3 1 4       # stable: by query
    keys      a b c d e           ranks  0 1 2 0 1       # (pairs,) place in the line

    line 0    a c d
    line 1    b e _               # _ sorts behind every key
    """
    order = np.argsort(of_query, kind="stable")
    table = np.full((len(counts), counts.max(initial=0)), _LAST_KEY)
    table[of_query[order], ranks_of(counts)] = keys[order]
    return table
