"""Reciprocal rank fusion: by ranks alone, without anything to fit.

    s(item) = Σ_lists 1 / (60 + rank),   rank from 1, nothing from a list without the item

Cormack, Clarke and Büttcher, SIGIR 2009.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gloss.data.catalogue import ItemId
from gloss.fusion.candidates import candidates
from gloss.fusion.rule import FusionRequest, FusionRule
from gloss.rankings.table import RankingTable
from gloss.retrieval.retriever import RRF_CONSTANT

__all__ = ["RULE", "ReciprocalRank"]


@dataclass(frozen=True, slots=True)
class ReciprocalRank:
    """The rule; there is nothing to it but the lists."""

    def fuse(self, request: FusionRequest, *, length: int) -> RankingTable:
        """Everybody's one list by the module's formula."""
        tables = []
        for batch in candidates(request.lists):
            # Ranks of a batch begin with 0.
            terms = np.where(batch.listed, 1 / (RRF_CONSTANT + 1 + batch.ranks), 0)
            tables.append(batch.ranked_by_sum(terms, length=length))
        return RankingTable.joined(tables)

    def summary(self, rankers: Sequence[str]) -> dict[str, Any]:
        """Nothing was fitted."""
        return {}

    def files(self) -> Mapping[str, str]:
        """Nothing is kept."""
        return {}


def _fit(request: FusionRequest, targets: Sequence[ItemId]) -> ReciprocalRank:
    return ReciprocalRank()


def _load(folder: Path) -> ReciprocalRank:
    return ReciprocalRank()


RULE = FusionRule(
    name="reciprocal-rank",
    label="by ranks alone",
    features=("rank",),
    fit=_fit,
    load=_load,
    needs_validation=False,
)
