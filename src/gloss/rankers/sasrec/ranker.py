"""SASRec as a ranker: the items that trained networks hold most likely next.

Needs no torch to be imported; the networks do (rankers/sasrec/ensemble.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from gloss.data.catalogue import Catalogue
from gloss.data.histories import Question
from gloss.progress import Progress, silent
from gloss.rankers.scoring import Scored, each_best, products, rows_of
from gloss.rankings.table import RankingTable

if TYPE_CHECKING:
    from gloss.rankers.sasrec.ensemble import Ensemble

__all__ = ["sasrec"]

_SCORED_USERS = 512


def sasrec(
    ensemble: Ensemble,
    questions: Sequence[Question],
    catalogue: Catalogue,
    *,
    length: int,
    exclude_seen: bool,
    progress: Progress = silent,
) -> RankingTable:
    """Each user's list: the items that the networks hold most likely, scored by log-probability.

    An item is there because of the bought one whose vector (of the first network) is most like its
    own. A user without a purchase has an empty list.
    """
    vectors = ensemble.vectors

    def scored(some: Sequence[Question]) -> Iterator[Scored]:
        logs = ensemble.log_probabilities(some, catalogue)
        for question, scores in zip(some, logs, strict=True):
            mine = vectors[rows_of(question.history, catalogue)]
            yield Scored(question.history, scores, partial(products, mine, vectors))

    return each_best(
        scored,
        questions,
        catalogue,
        at_once=_SCORED_USERS,
        length=length,
        exclude_seen=exclude_seen,
        progress=progress,
    )
