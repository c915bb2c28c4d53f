"""One list out of several by boosted trees: what a place in a list is worth beside other places.

Gradient-boosted trees that learn to rank (LightGBM: Ke et al., NeurIPS 2017) with the cross-entropy
of whole lists (XE-NDCG: Bruch, WWW 2021), fitted on validation users. They see of an item what each
list says of it: its score there, how far that is below the list's best, and the logarithm of its
place; nothing where the list does not hold it. So a third place in one list can be worth more where
the item leads another, which no weighted sum can say.

Knows rankings and answers; does not know what made them. Needs lightgbm (extra "trees").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gloss.data.histories import Example
from gloss.errors import ConfigError, InputError, require_extra
from gloss.evaluation.candidates import Array, Candidates, candidates, with_examples
from gloss.retrieval.fusion import Ranking
from gloss.retrieval.lists import Lists

__all__ = ["FILE", "Trees", "blend", "fit", "require_installed"]

FILE = "trees.txt"
"""What the trees of a fused ranking are called where they lie beside it."""

TRAITS = ("score", "below the best", "place")
"""What the trees see of an item in each list."""

_ROUNDS = 400
_SETTINGS = {
    "objective": "rank_xendcg",
    "learning_rate": 0.03,
    "num_leaves": 7,
    "min_data_in_leaf": 200,
    "lambda_l2": 10.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "seed": 0,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
"""Chosen on validation users of one category (docs/log.md): small trees, slowly, and many."""


@dataclass(frozen=True, slots=True)
class Trees:
    """Fitted trees. text: LightGBM's own format; users: how many validation users had their answer
    among the candidates, which the fit rests on."""

    text: str
    users: int

    def summary(self, signals: Sequence[str]) -> dict[str, Any]:
        """How many users, and each signal's share of what the splits gained."""
        gains = self.booster().feature_importance("gain").reshape(len(signals), len(TRAITS))
        shares = gains.sum(axis=1) / max(gains.sum(), 1e-300)
        named = zip(signals, shares.round(4).tolist(), strict=True)
        return {"fitted on users": self.users, "gains": dict(named)}

    def booster(self) -> Any:
        """The trees, ready to be asked. Raises MissingExtraError without lightgbm."""
        return _read(self.text)


def fit(signals: Sequence[Sequence[Ranking]], examples: Sequence[Example]) -> Trees:
    """Trees under which the examples' targets stand high among the candidates.

    signals: for each signal everybody's list, in the order of the examples. Users none of whose
    lists holds the target say nothing and are left out. The same lists give the same trees. Raises
    InputError when nobody is left, or when lists are not of the same users; MissingExtraError
    without lightgbm.
    """
    lightgbm = _lightgbm()
    traits, answers, groups = [], [], []
    for each, asked in with_examples(candidates(signals), examples):
        bought = each.bought(asked)
        told = each.per_user(np.logical_or, bought)
        traits.append(_traits(each)[told])
        answers.append(bought[told])
        groups.append(np.unique(each.users[told], return_counts=True)[1])
    if not any(map(len, groups)):
        raise InputError("no validation user's next purchase is in any list: nothing to fit on")
    rows = lightgbm.Dataset(
        np.concatenate(traits), np.concatenate(answers), group=np.concatenate(groups)
    )
    booster = lightgbm.train(_SETTINGS, rows, num_boost_round=_ROUNDS)
    return Trees(booster.model_to_string(), sum(map(len, groups)))


def blend(signals: Sequence[Sequence[Ranking]], trees: Trees, *, length: int) -> Lists:
    """Everybody's one list; an item's score is what the trees say of it.

    An item carries the query and the purchase of the list in which it stands highest. Equal scores
    stand in the order in which the lists, first to last, name the items. Raises ConfigError when
    the trees are for another number of signals, MissingExtraError without lightgbm.
    """
    booster = trees.booster()
    if booster.num_feature() != len(signals) * len(TRAITS):
        known = booster.num_feature() // len(TRAITS)
        raise ConfigError(f"trees for {known} signals cannot blend {len(signals)} rankings")
    return Lists.joined(
        [
            each.ranked(_asked(booster, _traits(each)), -each.places, length=length)
            for each in candidates(signals)
        ]
    )


def _asked(booster: Any, traits: Array) -> Array:
    """float64 (candidates,): what the trees say."""
    scores: Array = booster.predict(traits) if len(traits) else np.zeros(0)
    return scores


def _traits(each: Candidates) -> Array:
    """float64 (candidates, signals x traits), NaN where a list does not hold the item."""
    best = each.per_user(np.maximum, each.scores)
    places = np.log1p(np.maximum(each.places, 0))
    seen = np.stack([each.scores, each.scores - best, places], axis=2)
    seen[~each.held] = np.nan
    return seen.reshape(len(seen), len(each.lists) * len(TRAITS))


def require_installed() -> None:
    """Raise MissingExtraError without lightgbm."""
    require_extra("fusion by trees", "trees", "lightgbm")


@lru_cache(maxsize=4)
def _read(text: str) -> Any:
    """Once for all who are served."""
    return _lightgbm().Booster(model_str=text)


def _lightgbm() -> Any:
    require_installed()
    import lightgbm

    return lightgbm
