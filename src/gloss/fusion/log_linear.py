"""One list out of several: what different rankers hold likely, weighed by what validation shows.

Log-linear: the score of an item is a weighted sum of what each ranker says of it (its score there,
and whether it is in the list at all), and the weights are those under which the validation users'
next purchases are most likely among all candidates (a conditional logit: McFadden, 1974). By ranks:
the sum of 1 / (60 + place), without any weight.

An item that a list does not hold gets that list's floor, and nothing for its place. Knows rankings
and answers; does not know what made them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gloss.data.histories import Example
from gloss.errors import ConfigError, InputError
from gloss.fusion.candidates import Array, Candidates, candidates, with_questions
from gloss.rankings.ranking import Ranking
from gloss.rankings.table import RankingTable
from gloss.retrieval.retriever import RRF_CONSTANT

__all__ = ["Blend", "blend", "fit", "rank_fusion"]

TRAITS = ("score", "found")
"""What is known of an item in a list: its score, and 1 if it is there. The logarithm of its place
was tried as a third: it gained nothing on users that the weights were not fitted on."""

_PENALTY = 1.0
"""Ridge on the weights of standardised traits, in users: what one user's answer weighs."""

_STEPS = 50
_ENOUGH = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """Fitted weights. weights: float64 (rankers, 2), a row a ranker, a column a trait.

    users: how many validation users had their answer among the candidates, which the fit rests on.
    """

    weights: Array
    users: int

    def summary(self, rankers: Sequence[str]) -> dict[str, Any]:
        """What the summary of a fused ranking says of them, to the last bit; by ranker and trait.

        >>> Blend(np.array([[0.5, 2.0]]), users=9).summary(["text"])
        {'fitted on users': 9, 'weights': {'text': {'score': 0.5, 'found': 2.0}}}
        """
        rows = zip(rankers, self.weights.tolist(), strict=True)
        weights = {name: dict(zip(TRAITS, row, strict=True)) for name, row in rows}
        return {"fitted on users": self.users, "weights": weights}

    @classmethod
    def from_summary(cls, summary: Mapping[str, Any], rankers: Sequence[str]) -> Blend:
        """Read what `summary` wrote of these rankers."""
        weights = [[summary["weights"][name][trait] for trait in TRAITS] for name in rankers]
        return cls(np.array(weights), summary["fitted on users"])


def fit(rankers: Sequence[Sequence[Ranking]], examples: Sequence[Example]) -> Blend:
    """Weights that make the examples' targets most likely among the candidates.

    rankers: for each ranker everybody's list, in the order of the examples. Users none of whose
    lists holds the target say nothing and are left out. Raises InputError when nobody is left, or
    when lists are not of the same users.
    """
    cases: list[tuple[Array, int]] = []
    for each, asked in with_questions(candidates(rankers), examples):
        cases += _cases(each, each.bought(asked))
    if not cases:
        raise InputError("no validation user's next purchase is in any list: nothing to fit on")
    return Blend(_most_likely(cases).reshape(len(rankers), len(TRAITS)), len(cases))


def blend(rankers: Sequence[Sequence[Ranking]], weights: Blend, *, length: int) -> RankingTable:
    """Everybody's one list by fitted weights; what an item's score is, see the module's head.

    An item carries the query and the purchase of the ranker that lifts it most above its floor.
    Equal scores stand in the order in which the lists, first to last, name the items. Raises
    ConfigError when the weights are for another number of rankers.
    """
    if len(weights.weights) != len(rankers):
        raise ConfigError(
            f"weights for {len(weights.weights)} rankers cannot blend {len(rankers)} rankings"
        )
    return RankingTable.joined(
        [
            _summed(each, (_traits(each) * weights.weights).sum(axis=2), length)
            for each in candidates(rankers)
        ]
    )


def rank_fusion(rankers: Sequence[Sequence[Ranking]], *, length: int) -> RankingTable:
    """Everybody's one list by reciprocal ranks: needs no validation users."""
    return RankingTable.joined(
        [
            _summed(each, np.where(each.held, 1 / (RRF_CONSTANT + 1 + each.places), 0), length)
            for each in candidates(rankers)
        ]
    )


def _summed(each: Candidates, parts: Array, length: int) -> RankingTable:
    """parts: (candidates, rankers). What a ranker lifts is what it gives beyond what it gives to an
    item that it does not hold."""
    lifts = parts - each.per_user(np.minimum, parts)
    return each.ranked(parts.sum(axis=1), lifts, length=length)


def _cases(each: Candidates, bought: Array) -> Iterator[tuple[Array, int]]:
    """For each user who bought a candidate: float64 (items, traits), and the place of the bought.

    bought: bool (candidates,).
    """
    traits = _traits(each).reshape(len(bought), -1)
    starts = np.searchsorted(each.users, np.arange(len(each.lists[0]) + 1))
    for row in np.flatnonzero(bought).tolist():
        first, end = starts[each.users[row] : each.users[row] + 2].tolist()
        yield traits[first:end], row - first


def _traits(each: Candidates) -> Array:
    """float64 (candidates, rankers, traits)."""
    return np.stack([each.scores, each.held], axis=2)


def _most_likely(cases: Sequence[tuple[Array, int]]) -> Array:
    """float64 (traits,): Newton's method on the penalised likelihood, which is concave."""
    spread = np.concatenate([traits for traits, _ in cases]).std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    scaled = [(traits / scale, target) for traits, target in cases]
    weights = np.zeros(len(scale))
    value, slope, curve = _likelihood(scaled, weights)
    for _ in range(_STEPS):
        step = np.linalg.solve(curve, slope)
        size = 1.0
        while size > _ENOUGH:  # halved until it gains, which far from the maximum it may not
            better = _likelihood(scaled, weights + size * step)
            if better[0] >= value:
                break
            size /= 2
        gained = better[0] - value
        if size <= _ENOUGH:
            break
        weights, (value, slope, curve) = weights + size * step, better
        if gained < _ENOUGH * len(cases):
            break
    return weights / scale


def _likelihood(cases: Sequence[tuple[Array, int]], weights: Array) -> tuple[float, Array, Array]:
    """The penalised log-likelihood, its gradient, and minus its second derivatives."""
    value = -_PENALTY / 2 * float(weights @ weights)
    slope, curve = -_PENALTY * weights, _PENALTY * np.eye(len(weights))
    for traits, target in cases:
        scores = traits @ weights
        scores -= scores.max()
        shares = np.exp(scores)
        shares /= shares.sum()
        mean = shares @ traits
        value += float(scores[target] - np.log(np.exp(scores).sum()))
        slope += traits[target] - mean
        curve += (traits.T * shares) @ traits - np.outer(mean, mean)
    return value, slope, curve
