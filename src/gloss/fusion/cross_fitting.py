"""What a fitted rule gives users that it was not fitted on: cross-fitting.

The users are dealt to folds; each fold is fused by a rule that was fitted on all the others. So
every user is measured, and nobody's answer has been looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from gloss.arrays import Bools
from gloss.data.catalogue import ItemId
from gloss.fusion.candidates import aligned, candidates
from gloss.fusion.rule import FusionRequest, FusionRule
from gloss.rankings.table import RankingTable

__all__ = ["answerable", "cross_fitted", "folds_of"]

_MANY_USERS = 2000
"""From here on half of the users are enough to fit on, and two fits cost less than five."""


def answerable(request: FusionRequest, targets: Sequence[ItemId]) -> Bools:
    """bool (users,): whether any of a user's lists holds what was bought next."""
    found = np.zeros(len(targets), np.bool_)
    first = 0
    for batch, of_users in aligned(candidates(request.lists), targets):
        found[first + batch.users[batch.bought(of_users)]] = True
        first += len(of_users)
    return found


def folds_of(users: int) -> int:
    """How many folds the users are dealt to."""
    return 2 if users >= _MANY_USERS else 5


def cross_fitted(
    rule: FusionRule, request: FusionRequest, targets: Sequence[ItemId], *, length: int
) -> RankingTable:
    """Everybody's fused list, by rules that were fitted on others.

    Folds are stretches of users, in their order, of about the same size: 5 users in 2 folds are
    users 0 1 and 2 3 4. Raises what `rule.fit` raises; there must be at least as many users as
    folds.
    """
    bounds = np.linspace(0, len(targets), folds_of(len(targets)) + 1).astype(int).tolist()
    fused = []
    for start, end in pairwise(bounds):
        others = [*targets[:start], *targets[end:]]
        fitted = rule.fit(request.without(start, end), others)
        fused.append(fitted.fuse(request.part(start, end), length=length))
    return RankingTable.joined(fused)
