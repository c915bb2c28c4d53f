"""From a score for every item to a user's list. Knows no signal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from gloss.config import Transitions
from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import Question
from gloss.evaluation.baselines.seen import seen_items
from gloss.progress import Progress, silent
from gloss.retrieval.fusion import RankedItem, Ranking
from gloss.retrieval.index import top_rows

__all__ = ["Array", "Shares", "fading", "listed", "reached", "remembered", "rows_of"]

Array = np.ndarray[Any, Any]

Shares = Callable[[Array], Array]
"""Rows of items (found,) -> what each purchase of the history did for each, (history, found)."""

_REMEMBERED = 2**30
"""Bytes that are kept of what is around items: histories share their items."""


def reached(
    around: Callable[[Sequence[ItemId]], tuple[Array, Shares]],
    questions: Sequence[Question],
    catalogue: Catalogue,
    *,
    settings: Transitions,
    length: int,
    exclude_seen: bool,
    progress: Progress = silent,
) -> tuple[Ranking, ...]:
    """Each user's list of what lies around the last `recent` purchases; what scores 0 is left out.

    around: purchases, earliest first -> float (catalogue,) scores, and what each did for them.
    """
    rankings: list[Ranking] = []
    for question in questions:
        history = question.history[-settings.recent :]
        scores, shares = around(history)
        rankings.append(
            listed(
                question,
                np.where(scores > 0, scores, -np.inf),
                catalogue,
                history=history,
                shares=shares,
                length=length,
                exclude_seen=exclude_seen,
            )
        )
        progress(len(rankings), len(questions))
    return tuple(rankings)


def remembered(of_row: Callable[[int], Array], *, size: int) -> Callable[[int], Array]:
    """The same function of an item's row, keeping what it gave last. size: bytes of one answer."""
    return lru_cache(max(1, _REMEMBERED // size))(of_row)


def listed(
    question: Question,
    scores: Array,
    catalogue: Catalogue,
    *,
    history: Sequence[ItemId],
    shares: Shares,
    length: int,
    exclude_seen: bool,
) -> Ranking:
    """The `length` items with the highest scores, equal scores by row; -inf was not found.

    scores: float (catalogue,), any sign. history: the purchases that `shares` speaks of; an item is
    there because of the one with the largest share.
    """
    keys = _above_zero(scores)
    keys[rows_of(sorted(seen_items(question, exclude_seen=exclude_seen)), catalogue)] = 0
    rows = top_rows(keys, length)
    if not len(rows):
        return Ranking(question.user, ())
    because = (history[place] for place in shares(rows).argmax(axis=0))
    found = zip(rows.tolist(), scores[rows].tolist(), because, strict=True)
    entries = (RankedItem(catalogue[r].id, score, because=why) for r, score, why in found)
    return Ranking(question.user, tuple(entries))


def _above_zero(scores: Array) -> Array:
    """float64: the same order in numbers above 0, and 0 for -inf, as `top_rows` takes them."""
    found = np.isfinite(scores)
    least = scores.min(where=found, initial=np.inf)
    return np.where(found, np.where(found, scores, 0.0).astype(np.float64) - least + 1, 0.0)


def rows_of(items: Sequence[ItemId], catalogue: Catalogue) -> Array:
    """int64 (items,): their places in the catalogue."""
    return np.array([catalogue.row(item) for item in items], dtype=np.int64)


def fading(count: int, decay: float) -> Array:
    """float32 (count,): the weights of purchases, earliest first; the last has 1."""
    weights: Array = (decay ** np.arange(count - 1, -1, -1.0)).astype(np.float32)
    return weights
