"""The best rows of many queries at once, by the rule of `top_rows`: score, then row."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["GROUPS", "best_rows", "group_count", "round_up"]

Floats = np.ndarray[Any, np.dtype[np.float32]]
Ints = np.ndarray[Any, np.dtype[np.int64]]

GROUPS = 512
"""Groups that the scores of a query are dealt to, at least. The k-th highest of the groups' maxima
is a floor that k scores reach; only groups that reach it need be looked into. Fewer groups leave
more to look into, more of them are slower to choose from."""


def round_up(rows: int) -> int:
    """The next multiple of GROUPS: how many scores a query must be given room for."""
    return -(-rows // GROUPS) * GROUPS


def group_count(width: int, k: int) -> int:
    """How many groups to deal `width` scores to: enough that few of the k best share one."""
    count = GROUPS
    while count < 8 * k and width % (2 * count) == 0:
        count *= 2
    return width if count < k else count


def best_rows(
    of_query: Ints, rows: Ints, scores: Floats, *, queries: int, k: int
) -> tuple[Ints, Floats, Ints]:
    """The k best of what was found for each query: rows and scores (queries, at most k), counts.

    of_query, rows, scores: beside each other, in any order, a pair at most once. A query for which
    fewer than k were found has only its first `counts` places filled.
    """
    counts = np.bincount(of_query, minlength=queries)
    keys = np.sort(_side_by_side(_keys(scores, rows), of_query, counts), axis=1)[:, :k]
    return keys & 0xFFFFFFFF, _scores_in(keys), np.minimum(counts, k)


def _keys(scores: Floats, rows: Ints) -> Ints:
    """Whole numbers that sort as (highest score, lowest row) does: both in one int64.

    The bits of a float32, read as an int32, ascend with it where it is positive and descend where
    it is negative; there all bits but the sign are turned over.
    """
    bits = (scores + np.float32(0)).view(np.int32)  # + 0: no negative zero
    ascending = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return ~ascending.astype(np.int64) << 32 | rows


def _scores_in(keys: Ints) -> Floats:
    """The scores in what `_keys` made."""
    ascending = (~(keys >> 32)).astype(np.int32)
    bits = ascending ^ ((ascending >> 31) & 0x7FFFFFFF)
    return bits.view(np.float32)


def _side_by_side(keys: Ints, of_query: Ints, counts: Ints) -> Ints:
    """The keys of each query in a line of its own, filled up with the highest number."""
    order = np.argsort(of_query, kind="stable")
    place = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((len(counts), counts.max(initial=0)), np.iinfo(np.int64).max)
    table[of_query[order], place] = keys[order]
    return table
