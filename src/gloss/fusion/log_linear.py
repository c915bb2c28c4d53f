"""Log-linear fusion: a weighted sum of what each list says, weights fitted on validation users.

An item has two features in each list l: x_score, its score there (or the list's missing score), and
x_listed, 1 if the list holds it. With C_u the candidates of user u and t_u what u bought next:

    s(item)  = Σ_l  a_l · x_score(l, item) + b_l · x_listed(l, item)
    L(a, b)  = Σ_u  log softmax_{C_u}(s)(t_u)  -  1/2 |weights|²     (features / their spread)

The weights maximise L: a conditional logit (McFadden, 1974). Knows rankings and what was bought
next; knows nothing of what made the lists.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gloss.arrays import Array
from gloss.artifacts.content import finite, read_json, require
from gloss.data.catalogue import ItemId
from gloss.errors import ConfigError, InputError
from gloss.fusion.candidates import Candidates, aligned, candidates
from gloss.fusion.rule import FusionRequest, FusionRule
from gloss.rankings.table import RankingTable

__all__ = ["LIST_FEATURES", "RULE", "LogLinear", "fit"]

LIST_FEATURES = ("score", "listed")
"""What is seen of an item in each list. The logarithm of its rank was tried as a third feature: it
gained nothing on users that the weights were not fitted on."""

_FILE = "weights.json"

_RIDGE = 1.0
"""The factor of the penalty 1/2 |weights|² in L, where each user counts 1."""

_MAX_STEPS = 50
_MIN_GAIN = 1e-9
"""Newton's method stops when a step raises L by less than this for each user, or when a step
halved down to this fraction still does not raise it; and after `_MAX_STEPS` at the latest."""

_USERS_PER_WEIGHT = 10
"""Fewer events for each weight make a regression unstable (Peduzzi and others, 1996)."""

Case = tuple[Array, int]
"""A user's candidates, float64 (candidates, features), and the row of what was bought next."""


@dataclass(frozen=True, slots=True, eq=False)
class LogLinear:
    """Fitted weights.

    weights: float64 (rankers, features), a column for each of `LIST_FEATURES`. users: how many
    validation users the fit rests on: those with what they bought next among their candidates.
    """

    weights: Array
    users: int

    def fuse(self, request: FusionRequest, *, length: int) -> RankingTable:
        """Everybody's one list by the module's formula."""
        if len(self.weights) != len(request.lists):
            raise ConfigError(
                f"weights for {len(self.weights)} rankers cannot fuse {len(request.lists)} rankings"
            )
        tables = []
        for batch in candidates(request.lists):
            terms = (_list_features(batch) * self.weights).sum(axis=2)  # (candidates, rankers)
            tables.append(batch.ranked_by_sum(terms, length=length))
        return RankingTable.joined(tables)

    def summary(self, rankers: Sequence[str]) -> dict[str, Any]:
        """How many users the fit rests on, and the weights by ranker and feature.

        >>> LogLinear(np.array([[0.5, 2.0]]), users=9).summary(["sasrec"])
        {'fitted on users': 9, 'weights': {'sasrec': {'score': 0.5, 'listed': 2.0}}}
        """
        rows = zip(rankers, self.weights.tolist(), strict=True)
        weights = {name: dict(zip(LIST_FEATURES, row, strict=True)) for name, row in rows}
        return {"fitted on users": self.users, "weights": weights}

    def files(self) -> Mapping[str, str]:
        """The weights as JSON, which keeps every bit of a float64."""
        return {_FILE: json.dumps({"users": self.users, "weights": self.weights.tolist()}) + "\n"}


def fit(request: FusionRequest, targets: Sequence[ItemId]) -> LogLinear:
    """The weights under which the targets are most likely among their users' candidates.

    Users none of whose lists holds the target say nothing and are left out. Raises InputError when
    nobody is left, or when the lists are not of the same users.
    """
    cases: list[Case] = []
    for batch, of_users in aligned(candidates(request.lists), targets):
        cases += _cases(batch, batch.bought(of_users))
    if not cases:
        raise InputError("no validation user's next purchase is in any list: nothing to fit on")
    weights = _most_likely(cases).reshape(len(request.lists), len(LIST_FEATURES))
    return LogLinear(weights, len(cases))


def _load(folder: Path) -> LogLinear:
    fitted = read_json(folder / _FILE, dict)
    weights, users = np.array(fitted["weights"], np.float64), fitted["users"]
    require(weights.shape[1:] == (len(LIST_FEATURES),), _FILE, f"its shape is {weights.shape}")
    require(type(users) is int and users > 0, _FILE, "its users are none")
    return LogLinear(finite(weights, _FILE), users)


def _list_features(batch: Candidates) -> Array:
    """float64 (candidates, rankers, features)."""
    return np.stack([batch.scores, batch.listed], axis=2)


def _cases(batch: Candidates, bought: Array) -> Iterator[Case]:
    """A case for each user who bought a candidate. bought: bool (candidates,)."""
    columns = len(batch.lists) * len(LIST_FEATURES)  # not -1: there may be no candidate at all
    features = _list_features(batch).reshape(len(bought), columns)
    starts = np.searchsorted(batch.users, np.arange(len(batch.lists[0]) + 1))
    for row in np.flatnonzero(bought).tolist():
        first, end = starts[batch.users[row] : batch.users[row] + 2].tolist()
        yield features[first:end], row - first


def _most_likely(cases: Sequence[Case]) -> Array:
    """float64 (features,): Newton's method on the penalised likelihood, which is concave."""
    spread = np.concatenate([features for features, _ in cases]).std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    scaled = [(features / scale, target) for features, target in cases]
    weights = np.zeros(len(scale))
    value, gradient, curvature = _likelihood(scaled, weights)
    for _ in range(_MAX_STEPS):
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > _MIN_GAIN:  # far from the maximum a whole step may lose: it is halved
            better = _likelihood(scaled, weights + size * step)
            if better[0] >= value:
                break
            size /= 2
        gain = better[0] - value
        if size <= _MIN_GAIN:
            break
        weights, (value, gradient, curvature) = weights + size * step, better
        if gain < _MIN_GAIN * len(cases):
            break
    return weights / scale


def _likelihood(cases: Sequence[Case], weights: Array) -> tuple[float, Array, Array]:
    """L, its gradient (features,), and minus its second derivatives (features, features).

    With p the softmax of a user's scores, x_t the features of the target and X those of all:

        ∂L = x_t - p X,    -∂²L = Xᵀ diag(p) X - (p X)ᵀ (p X)
    """
    value = -_RIDGE / 2 * float(weights @ weights)
    gradient, curvature = -_RIDGE * weights, _RIDGE * np.eye(len(weights))
    for features, target in cases:
        scores = features @ weights
        scores -= scores.max()
        chances = np.exp(scores)
        chances /= chances.sum()
        mean = chances @ features
        value += float(scores[target] - np.log(np.exp(scores).sum()))
        gradient += features[target] - mean
        curvature += (features.T * chances) @ features - np.outer(mean, mean)
    return value, gradient, curvature


def _min_users(rankers: int) -> int:
    return _USERS_PER_WEIGHT * len(LIST_FEATURES) * rankers


RULE = FusionRule(
    name="log-linear",
    label="by fitted weights",
    features=LIST_FEATURES,
    fit=fit,
    load=_load,
    min_users=_min_users,
)
