"""What a taught encoder expects next: a mixture of what each of the last purchases asks for.

A mean of purchases would ask for something between them; a mixture asks for what goes with one of
them. Knows arrays (rankers/dual_encoder/embeddings.py); knows no encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from gloss.data.catalogue import Catalogue
from gloss.data.histories import Question
from gloss.progress import Progress, silent
from gloss.rankers.dual_encoder.embeddings import Taught
from gloss.rankers.dual_encoder.settings import DualEncoderSettings
from gloss.rankers.ranker import RankerSpec
from gloss.rankers.scoring import Array, Scored, each_best, rows_of
from gloss.rankings.table import RankingTable

__all__ = ["SPEC", "expected_next"]

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
) -> RankingTable:
    """Each user's list by the logarithm of how likely an item's title is bought next.

    An item is there because of the purchase that makes it most likely. A user without a purchase
    has an empty list.
    """
    recent = len(taught.ages)
    users = max(1, min(_AT_ONCE, _BYTES // (4 * recent * len(taught.asking))))

    def scored(some: Sequence[Question]) -> Iterator[Scored]:
        histories = [question.history[-recent:] for question in some]
        bought = [taught.titles[rows_of(history, catalogue)] for history in histories]
        known = np.unique(np.concatenate(bought))
        after = taught.after(known)
        for history, titles in zip(histories, bought, strict=True):
            chances = taught.deciding(titles)[:, None] * after[np.searchsorted(known, titles)]
            with np.errstate(divide="ignore"):
                scores = np.log(chances.sum(axis=0))[taught.titles]
            yield Scored(history, scores, partial(_of_items, chances, taught.titles))

    return each_best(
        scored,
        questions,
        catalogue,
        at_once=users,
        length=length,
        exclude_seen=exclude_seen,
        progress=progress,
    )


def _of_items(chances: Array, titles: Array, rows: Array) -> Array:
    """As `Shares`."""
    shares: Array = chances[:, titles[rows]]
    return shares


SPEC = RankerSpec("dual-encoder", "Dual encoder", DualEncoderSettings)
