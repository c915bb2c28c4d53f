"""One list out of several by boosted trees: what a place in a list is worth beside other places.

Gradient-boosted trees that learn to rank (LightGBM: Ke et al., NeurIPS 2017) with the cross-entropy
of whole lists (XE-NDCG: Bruch, WWW 2021), fitted on validation users. They see of an item what each
list says of it: its score there, how far that is below the list's best, and the logarithm of its
place; nothing where the list does not hold it. So a third place in one list can be worth more where
the item leads another, which no weighted sum can say. Beside the lists they see how often the item
was bought and how long the user's history is: whether a list deserves belief depends on both.

Knows rankings, questions and answers; does not know what made the lists. Needs lightgbm (extra
"trees").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gloss.data.catalogue import ItemId
from gloss.data.histories import Example, Question
from gloss.errors import ConfigError, InputError, require_extra
from gloss.fusion.candidates import Array, Candidates, candidates, with_questions
from gloss.rankings.ranking import Ranking
from gloss.rankings.table import RankingTable

__all__ = ["BESIDE", "FILE", "TRAITS", "Popularity", "Trees", "blend", "fit", "require_installed"]

Popularity = Mapping[ItemId, int]
"""How often each item was bought by those who were trained on; others never."""

FILE = "trees.txt"
"""What the trees of a fused ranking are called where they lie beside it."""

TRAITS = ("score", "below the best", "place")
"""What the trees see of an item in each list."""

BESIDE = ("popularity", "history")
"""What they see beside the lists: logarithms of the item's purchases and of the user's."""

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

    def summary(self, rankers: Sequence[str]) -> dict[str, Any]:
        """How many users, and the share of what the splits gained of each ranker and of what
        stands beside them."""
        gains = self.booster().feature_importance("gain")
        of_lists = gains[: -len(BESIDE)].reshape(len(rankers), len(TRAITS)).sum(axis=1)
        shares = np.append(of_lists, gains[-len(BESIDE) :]) / max(gains.sum(), 1e-300)
        named = zip((*rankers, *BESIDE), shares.round(4).tolist(), strict=True)
        return {"fitted on users": self.users, "gains": dict(named)}

    def booster(self) -> Any:
        """The trees, ready to be asked. Raises MissingExtraError without lightgbm."""
        return _read(self.text)


def fit(
    rankers: Sequence[Sequence[Ranking]], examples: Sequence[Example], popularity: Popularity
) -> Trees:
    """Trees under which the examples' targets stand high among the candidates.

    rankers: for each ranker everybody's list, in the order of the examples. Users none of whose
    lists holds the target say nothing and are left out. The same lists give the same trees. Raises
    InputError when nobody is left, or when lists are not of the same users; MissingExtraError
    without lightgbm.
    """
    lightgbm = _lightgbm()
    traits, answers, groups = [], [], []
    for each, asked in with_questions(candidates(rankers), examples):
        bought = each.bought(asked)
        told = each.per_user(np.logical_or, bought)
        traits.append(_traits(each, asked, popularity)[told])
        answers.append(bought[told])
        groups.append(np.unique(each.users[told], return_counts=True)[1])
    if not any(map(len, groups)):
        raise InputError("no validation user's next purchase is in any list: nothing to fit on")
    rows = lightgbm.Dataset(
        np.concatenate(traits), np.concatenate(answers), group=np.concatenate(groups)
    )
    booster = lightgbm.train(_SETTINGS, rows, num_boost_round=_ROUNDS)
    return Trees(booster.model_to_string(), sum(map(len, groups)))


def blend(
    rankers: Sequence[Sequence[Ranking]],
    questions: Sequence[Question],
    trees: Trees,
    popularity: Popularity,
    *,
    length: int,
) -> RankingTable:
    """Everybody's one list; an item's score is what the trees say of it.

    rankers: for each ranker everybody's list, in the order of the questions. An item carries the
    query and the purchase of the list in which it stands highest. Equal scores stand in the order
    in which the lists, first to last, name the items. Raises ConfigError when the trees are for
    another number of rankers, MissingExtraError without lightgbm.
    """
    booster = trees.booster()
    if booster.num_feature() != _traits_of(len(rankers)):
        raise ConfigError(
            f"trees that see {booster.num_feature()} traits cannot blend {len(rankers)} rankings, "
            f"which have {_traits_of(len(rankers))}: fuse anew"
        )
    return RankingTable.joined(
        [
            each.ranked(
                _asked(booster, _traits(each, asked, popularity)), -each.places, length=length
            )
            for each, asked in with_questions(candidates(rankers), questions)
        ]
    )


def _traits_of(rankers: int) -> int:
    """How many numbers the trees see of an item."""
    return rankers * len(TRAITS) + len(BESIDE)


def _asked(booster: Any, traits: Array) -> Array:
    """float64 (candidates,): what the trees say."""
    scores: Array = booster.predict(traits) if len(traits) else np.zeros(0)
    return scores


def _traits(each: Candidates, questions: Sequence[Question], popularity: Popularity) -> Array:
    """float64 (candidates, rankers x TRAITS + BESIDE); of a list NaN where it does not hold the
    item. questions: of these users."""
    best = each.per_user(np.maximum, each.scores)
    places = np.log1p(np.maximum(each.places, 0))
    seen = np.stack([each.scores, each.scores - best, places], axis=2)
    seen[~each.held] = np.nan
    codes, which = np.unique(each.codes, return_inverse=True)
    bought = np.array([popularity.get(item, 0) for item in each.names[codes]], float)[which]
    lengths = np.array([len(question.history) for question in questions])[each.users]
    beside = np.log1p(np.stack([bought, lengths], axis=1))
    return np.concatenate([seen.reshape(len(seen), len(each.lists) * len(TRAITS)), beside], axis=1)


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
