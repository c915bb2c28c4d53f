"""Arrays: what several folders do with them. Knows numbers only."""

from __future__ import annotations

from typing import Any

import numpy as np

from gloss.errors import ConfigError

__all__ = ["Array", "top_rows"]

Array = np.ndarray[Any, Any]

_GROUPS = 4
"""Groups of scores for each item to be found, at least."""


def top_rows(scores: Array, k: int, *, above: float = 0.0) -> Array:
    """The rows of the `k` highest scores: highest first, equal scores by row.

    scores: shape (rows,). Rows whose score is not above `above` found nothing and are left out, so
    fewer than `k` may come back. Raises ConfigError when `k` is below 1.

    >>> top_rows(np.array([0.0, 2.0, 5.0, 2.0]), 2).tolist()
    [2, 1]
    """
    if k < 1:
        raise ConfigError(f"the number of items to find must be at least 1, not {k}")
    rows = np.flatnonzero(scores > above)
    found = scores[rows]
    if found.size > k:
        # Everything that ties with the k-th stays until the sort: a partition alone would pick any.
        reach = found >= _kth_highest(found, k)
        rows, found = rows[reach], found[reach]
    ordered: Array = rows[np.argsort(-found, kind="stable")[:k]]
    return ordered


def _kth_highest(scores: Array, k: int) -> Any:
    """The `k`-th highest of at least `k` scores.

    Of many scores few reach the k-th highest of the groups' highest, and at least `k` do: they are
    found in a third of the time that a partition of all takes.
    """
    size = len(scores) // (_GROUPS * k)
    if size > 1:
        groups = len(scores) // size
        highest = scores[: groups * size].reshape(size, groups).max(axis=0)
        scores = scores[scores >= _kth_highest(highest, k)]
    place = len(scores) - k
    return np.partition(scores, place)[place]
