"""Fusion by boosted trees: what a rank in one list is worth next to what the other lists say.

Gradient-boosted trees that learn to rank (LightGBM: Ke et al., NeurIPS 2017) with the cross-entropy
of whole lists (XE-NDCG: Bruch, WWW 2021), fitted on validation users. An item has features in each
list (`LIST_FEATURES`), missing where the list does not hold it, and features of its context
(`CONTEXT_FEATURES`): how often the item was bought and how long the user's history is, since both
tell how far a list can be trusted. Where lists keep what was bought, it has features of the user's
own purchases of it too (own_purchases.py). So a third rank in one list can be worth more where the
item leads another, which no weighted sum can express. For a part of the fit some items are made
new, so that the trees know what titles alone are worth; and by how much new items are lifted is
fitted beside them (new_items.py).

Needs lightgbm (extra "trees").
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gloss.arrays import Array, Bools
from gloss.artifacts.content import read_json, require
from gloss.data.catalogue import ItemId
from gloss.data.histories import History
from gloss.errors import ConfigError, InputError, require_extra
from gloss.fusion.candidates import Candidates, aligned, candidates
from gloss.fusion.lightgbm_text import checked_trees
from gloss.fusion.new_items import Scored, arrivals, fitted_lift, training_requests
from gloss.fusion.own_purchases import PURCHASE_FEATURES, purchase_features
from gloss.fusion.rule import FusionRequest, FusionRule
from gloss.rankings.table import RankingTable

__all__ = ["CONTEXT_FEATURES", "LIST_FEATURES", "RULE", "Trees", "fit"]

LIST_FEATURES = ("score", "score below the list's best", "log rank")
"""What is seen of an item in each list; the rank begins with 1."""

CONTEXT_FEATURES = ("popularity", "history length")
"""What is seen besides: log(1 + purchases of the item), log(1 + purchases of the user)."""

_FILE, _BESIDE_FILE = "trees.txt", "trees.json"

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
"""Chosen on validation users of one category (docs/log.md): many small trees, learned slowly."""


_MIN_USERS = 200
"""As many as a leaf holds candidates at least: fewer answers would tell hardly any leaves apart."""


@dataclass(frozen=True, slots=True)
class Trees:
    """Fitted trees. text: LightGBM's own format, checked where it is read (lightgbm_text.py);
    users: how many validation users the fit rests on: those with what they bought next among their
    candidates. lift: what is added to the score of an item that nobody has bought."""

    text: str
    users: int
    lift: float = 0.0

    def fuse(self, request: FusionRequest, *, length: int) -> RankingTable:
        """Everybody's one list; an item's score is the trees' own.

        An item carries the reason of the list that ranks it highest. Raises MissingExtraError
        without lightgbm.
        """
        booster = _booster(self.text)
        _require_features(booster, rankers=len(request.lists))
        sees_own = _sees_own_purchases(booster, rankers=len(request.lists))
        tables = []
        for batch, histories in aligned(candidates(request.lists), request.histories):
            features = _features(batch, histories, request.times_bought, own=sees_own)
            scores = booster.predict(features) if len(features) else np.zeros(0)
            scores = scores + self.lift * _is_new(features, rankers=len(request.lists))
            tables.append(batch.ranked(scores, -batch.ranks, length=length))
        return RankingTable.joined(tables)

    def summary(self, rankers: Sequence[str]) -> dict[str, Any]:
        """How many users the fit rests on, and whose features the splits gained what share by."""
        booster = _booster(self.text)
        gains = booster.feature_importance("gain")
        names_of_context: tuple[str, ...] = CONTEXT_FEATURES
        if _sees_own_purchases(booster, rankers=len(rankers)):
            names_of_context += PURCHASE_FEATURES
        context = len(names_of_context)
        of_rankers = gains[:-context].reshape(len(rankers), len(LIST_FEATURES)).sum(axis=1)
        shares = np.append(of_rankers, gains[-context:]) / max(gains.sum(), 1e-300)
        names = (*rankers, *names_of_context)
        lift = {"lift of new items": round(self.lift, 4)} if self.lift else {}
        return {
            "fitted on users": self.users,
            **lift,
            "gains": dict(zip(names, shares.round(4).tolist(), strict=True)),
        }

    def files(self) -> Mapping[str, str]:
        """The trees in LightGBM's format; the number of users and the lift, where there is one."""
        beside = {"users": self.users} | ({"lift": self.lift} if self.lift else {})
        return {_FILE: self.text, _BESIDE_FILE: json.dumps(beside) + "\n"}


def fit(request: FusionRequest, targets: Sequence[ItemId]) -> Trees:
    """Trees that rank the targets high among their users' candidates.

    Users none of whose lists holds the target say nothing and are left out. The same lists give the
    same trees. Raises InputError when nobody is left, or when the lists are not of the same users;
    MissingExtraError without lightgbm.
    """
    lightgbm = _lightgbm()
    parts = [_examples(each, targets) for each in training_requests(request)]
    features, labels, groups = map(np.concatenate, zip(*parts, strict=True))
    if not len(groups):
        raise InputError("no validation user's next purchase is in any list: nothing to fit on")
    data = lightgbm.Dataset(features, labels, group=groups)
    booster = lightgbm.train(_SETTINGS, data, num_boost_round=_ROUNDS)
    lift = fitted_lift(_scored(booster, each, targets) for each in arrivals(request))
    return Trees(checked_trees(booster.model_to_string(), _FILE), len(parts[0][2]), lift)


def _scored(booster: Any, request: FusionRequest, targets: Sequence[ItemId]) -> Scored:
    """What trees give the candidates of users one of whose candidates was bought."""
    features, bought, groups = _examples(request, targets)
    users, of_lists = np.repeat(np.arange(len(groups)), groups), len(request.lists)
    log_ranks = features[:, LIST_FEATURES.index("log rank") :: len(LIST_FEATURES)][:, :of_lists]
    new = _is_new(features, rankers=of_lists)
    return Scored(booster.predict(features), users, new, bought, np.expm1(log_ranks))


def _examples(request: FusionRequest, targets: Sequence[ItemId]) -> tuple[Array, Array, Array]:
    """What trees are fitted on, of users one of whose candidates was bought: float64 (candidates,
    features), bool (candidates,), whether it was bought, and int64 (users,), candidates of each."""
    features, labels, groups = [], [], []
    examples = list(zip(request.histories, targets, strict=True))
    for batch, of_users in aligned(candidates(request.lists), examples):
        bought = batch.bought([target for _, target in of_users])
        kept = batch.per_user(np.logical_or, bought)
        histories = [history for history, _ in of_users]
        of_batch = _features(batch, histories, request.times_bought, own=not request.exclude_seen)
        features.append(of_batch[kept])
        labels.append(bought[kept])
        groups.append(np.unique(batch.users[kept], return_counts=True)[1])
    return np.concatenate(features), np.concatenate(labels), np.concatenate(groups)


def _load(folder: Path) -> Trees:
    beside = read_json(folder / _BESIDE_FILE, dict)
    users, lift = beside["users"], beside.get("lift", 0.0)
    require(type(users) is int and users > 0, _BESIDE_FILE, "its users are none")
    require(type(lift) is float and 0 <= lift < math.inf, _BESIDE_FILE, "its lift is none")
    text = (folder / _FILE).read_text("utf-8")
    return Trees(checked_trees(text, _FILE), users, lift)


def _features(
    batch: Candidates,
    histories: Sequence[History],
    times_bought: Mapping[ItemId, int],
    *,
    own: bool,
) -> Array:
    """float64 (candidates, rankers * list features + context features + purchase features).

    The features of a list that does not hold the item are NaN. histories: of these users; own:
    whether their own purchases of the item are seen.
    """
    best = batch.per_user(np.maximum, batch.scores)
    log_ranks = np.log1p(np.maximum(batch.ranks, 0))  # ranks of a batch begin with 0
    of_lists = np.stack([batch.scores, batch.scores - best, log_ranks], axis=2)
    of_lists[~batch.listed] = np.nan
    codes, which = np.unique(batch.codes, return_inverse=True)
    popularity = np.array([times_bought.get(item, 0) for item in batch.names[codes]], float)[which]
    lengths = np.array([len(history.items) for history in histories])[batch.users]
    context = np.log1p(np.stack([popularity, lengths], axis=1))
    flat = of_lists.reshape(len(of_lists), len(batch.lists) * len(LIST_FEATURES))
    of_user = [purchase_features(batch, histories)] if own else []
    return np.concatenate([flat, context, *of_user], axis=1)


def _is_new(features: Array, *, rankers: int) -> Bools:
    """bool (candidates,): whether nobody has bought the item: its popularity is log(1 + 0)."""
    new: Bools = features[:, rankers * len(LIST_FEATURES)] == 0
    return new


def _sees_own_purchases(booster: Any, *, rankers: int) -> bool:
    """Whether the trees were fitted on lists that keep what was bought."""
    without: int = rankers * len(LIST_FEATURES) + len(CONTEXT_FEATURES)
    return bool(booster.num_feature() == without + len(PURCHASE_FEATURES))


def _require_features(booster: Any, *, rankers: int) -> None:
    expected = rankers * len(LIST_FEATURES) + len(CONTEXT_FEATURES)
    if booster.num_feature() not in (expected, expected + len(PURCHASE_FEATURES)):
        raise ConfigError(
            f"trees of {booster.num_feature()} features cannot fuse {rankers} rankings, which have "
            f"{expected}: fuse again"
        )


def _require_installed() -> None:
    require_extra("fusion by trees", "trees", "lightgbm")


@lru_cache(maxsize=4)
def _booster(text: str) -> Any:
    """Trees, ready to predict: read once, whoever is served."""
    return _lightgbm().Booster(model_str=text)


def _lightgbm() -> Any:
    _require_installed()
    import lightgbm

    return lightgbm


def _min_users(rankers: int) -> int:
    return _MIN_USERS


RULE = FusionRule(
    name="trees",
    label="by fitted trees",
    features=(*LIST_FEATURES, *CONTEXT_FEATURES),
    purchase_features=PURCHASE_FEATURES,
    fit=fit,
    load=_load,
    min_users=_min_users,
    meets_new_items=True,
    require_installed=_require_installed,
)
