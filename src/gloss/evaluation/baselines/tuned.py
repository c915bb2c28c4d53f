"""What a taught encoder expects next: a mixture of what each of the last purchases asks for.

A mean of purchases would ask for something between them; a mixture asks for what goes with one of
them. Knows arrays (retrieval/taught.py); knows no encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from gloss.data.catalogue import Catalogue
from gloss.data.histories import Question
from gloss.evaluation.baselines.scored import Array, best, gathered, rows_of
from gloss.progress import Progress, silent
from gloss.retrieval.lists import Lists
from gloss.retrieval.taught import Taught

__all__ = ["expected_next"]

_AT_ONCE, _BYTES = 512, 2**30
"""Users that are asked together, and how much may be held for them."""


def expected_next(
    taught: Taught,
    questions: Sequence[Question],
    catalogue: Catalogue,
    *,
    length: int,
    exclude_seen: bool,
    progress: Progress = silent,
) -> Lists:
    """Each user's list by the logarithm of how likely an item's title is bought next.

    An item is there because of the purchase that makes it most likely. A user without a purchase
    has an empty list.
    """
    recent = len(taught.ages)
    users = max(1, min(_AT_ONCE, _BYTES // (4 * recent * len(taught.asking))))
    listed = partial(best, catalogue=catalogue, length=length, exclude_seen=exclude_seen)
    found = []
    for first in range(0, len(questions), users):
        some = questions[first : first + users]
        histories = [question.history[-recent:] for question in some]
        bought = [taught.titles[rows_of(history, catalogue)] for history in histories]
        known = np.unique(np.concatenate(bought))
        after = taught.after(known)
        for question, history, titles in zip(some, histories, bought, strict=True):
            chances = _chances(taught, titles, after[np.searchsorted(known, titles)])
            with np.errstate(divide="ignore"):
                scores = np.log(chances.sum(axis=0))[taught.titles]
            shares = partial(_of_items, chances, taught.titles)
            found.append(listed(question, scores, history=history, shares=shares))
        progress(len(found), len(questions))
    return gathered(questions, found, catalogue)


def _chances(taught: Taught, titles: Array, after: Array) -> Array:
    """float32 (purchases, titles): what each purchase does to make each title next."""
    if not len(titles):
        return after
    chances: Array = taught.deciding(titles)[:, None] * after
    return chances


def _of_items(chances: Array, titles: Array, rows: Array) -> Array:
    """As `Shares`."""
    shares: Array = chances[:, titles[rows]]
    return shares
