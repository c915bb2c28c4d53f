"""A fusion that cannot hurt: what is fitted, and whether the fused list is what is served.

Weights that were fitted on 37 users took a list from 0.110 to 0.075, and nobody noticed. So a rule
is fitted where users suffice only, and the fused list is compared with the best of its parts on
validation users, whom it was not fitted on (cross-fitting).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gloss.data.catalogue import ItemId
from gloss.evaluation.metrics import Floats, ndcg, target_ranks
from gloss.fusion.cross_fitting import answerable, cross_fitted, folds_of
from gloss.fusion.rule import FusionRequest, FusionRule
from gloss.fusion.rules import affordable
from gloss.rankings.records import FUSED_LIST
from gloss.rankings.table import RankingTable

__all__ = ["Guarded", "guarded"]

_CUTOFF = 10
"""Of the NDCG by which lists are compared: it sees every rank on a first page, where Recall sees
hits alone, so that fewer users tell two lists apart."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """The rule to fit, what is served (`FUSED_LIST`, or the name of a ranker), and why."""

    rule: FusionRule
    served: str
    why: str


def guarded(
    rule: FusionRule,
    request: FusionRequest,
    targets: Sequence[ItemId],
    names: Sequence[str],
    *,
    length: int,
) -> Guarded:
    """What is known of a fusion before it is used.

    request, targets: of validation users; names: of the rankers; length: of fused lists. The fused
    list is served where its mean NDCG is higher than its best part's by more than the standard
    error of the paired difference.
    """
    users = int(answerable(request, targets).sum())
    fitted = affordable(rule, users=users, rankers=len(names))
    few = _too_few(rule, fitted, users, len(names))
    if not users:
        return Guarded(fitted, FUSED_LIST, f"{few}Nothing could be compared.")
    cutoff = min(_CUTOFF, length)
    fused = _ndcg(_fused(fitted, request, targets, length=length), targets, cutoff)
    parts = [_ndcg(table, targets, cutoff) for table in request.lists]
    best = int(np.argmax([part.mean() for part in parts]))
    difference = fused - parts[best]
    error = difference.std() / np.sqrt(len(difference))
    served = FUSED_LIST if difference.mean() > error else names[best]
    how = f", cross-fitted in {folds_of(len(targets))} parts" if fitted.needs_validation else ""
    why = (
        f"{few}Served is {served}{'' if served == FUSED_LIST else ' alone'}: on {len(targets):,} "
        f"validation users the fused list has NDCG@{cutoff} {fused.mean():.4f}{how}, its best part "
        f"{names[best]} {parts[best].mean():.4f}; the difference is {difference.mean():+.4f}, its "
        f"standard error {error:.4f}."
    )
    return Guarded(fitted, served, why)


def _too_few(rule: FusionRule, fitted: FusionRule, users: int, rankers: int) -> str:
    """A sentence where another rule is fitted than was asked for."""
    if fitted is rule:
        return ""
    return (
        f"{users:,} validation users with an answer in a list are too few to fit {rule.name}, "
        f"which takes {rule.min_users(rankers):,}: lists are joined {fitted.label}. "
    )


def _fused(
    rule: FusionRule, request: FusionRequest, targets: Sequence[ItemId], *, length: int
) -> RankingTable:
    if rule.needs_validation:
        return cross_fitted(rule, request, targets, length=length)
    return rule.fit(request, targets).fuse(request, length=length)


def _ndcg(table: RankingTable, targets: Sequence[ItemId], cutoff: int) -> Floats:
    return ndcg(target_ranks(table, targets), cutoff)
