"""Fused lists of users on whom nothing was fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from gloss.data.histories import History
from gloss.fusion import log_linear, reciprocal_rank, trees
from gloss.fusion.cross_fitting import answerable, cross_fitted, folds_of
from gloss.fusion.rule import FusionRequest, FusionRule
from gloss.fusion.rules import RULES, affordable
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.table import RankingTable


def request_of(*lists: str) -> FusionRequest:
    """One ranker's lists, a letter an item, of users u0, u1, …"""
    rankings = [
        Ranking(f"u{user}", tuple(RankedItem(item, 1.0) for item in items))
        for user, items in enumerate(lists)
    ]
    histories = [History(ranking.user, ()) for ranking in rankings]
    return FusionRequest([RankingTable.of(rankings)], histories, {})


@dataclass(frozen=True)
class Remembered:
    """Lists the answers that it was fitted on, whoever asks."""

    answers: tuple[str, ...]

    def fuse(self, request: FusionRequest, *, length: int) -> RankingTable:
        entries = tuple(RankedItem(item, 1.0) for item in self.answers)
        return RankingTable.of([Ranking(h.user, entries) for h in request.histories])


def remember(request: FusionRequest, targets: Sequence[str]) -> Remembered:
    assert len(request.lists[0]) == len(request.histories) == len(targets)
    return Remembered(tuple(targets))


MEMORY = FusionRule(name="memory", label="by heart", features=(), fit=remember, load=lambda _: None)


def test_nobody_is_fused_by_a_rule_that_was_fitted_on_their_answer():
    targets = [*"abcdefg"]
    fused = cross_fitted(MEMORY, request_of(*"abcdefg"), targets, length=9)
    assert fused.users == tuple(f"u{n}" for n in range(7))
    for ranking, target in zip(fused, targets, strict=True):
        others = [entry.item for entry in ranking.entries]
        assert target not in others
        assert len(others) in (7 - 1, 7 - 2)  # 7 users in 5 folds: of one user or of two


def test_a_request_is_cut_by_users():
    request = request_of("a", "bc", "", "d")
    assert [r.user for r in request.part(1, 3).lists[0]] == ["u1", "u2"]
    rest = request.without(1, 3)
    assert [r.user for r in rest.lists[0]] == [h.user for h in rest.histories] == ["u0", "u3"]


def test_those_with_an_answer_in_a_list_can_be_learnt_from():
    assert answerable(request_of("ab", "b", "", "c"), [*"bacc"]).tolist() == [True, 0, 0, True]


def test_many_users_are_dealt_to_two_folds():
    assert (folds_of(1999), folds_of(2000)) == (5, 2)


@pytest.mark.parametrize(
    ("users", "of_trees", "of_weights"),
    [
        (0, reciprocal_rank.RULE, reciprocal_rank.RULE),
        (3 * 2 * 10 - 1, reciprocal_rank.RULE, reciprocal_rank.RULE),
        (3 * 2 * 10, log_linear.RULE, log_linear.RULE),
        (199, log_linear.RULE, log_linear.RULE),
        (200, trees.RULE, log_linear.RULE),
    ],
)
def test_a_rule_is_fitted_where_there_are_users_enough(users, of_trees, of_weights):
    """Of three rankers a weighted sum has six weights, each of which takes ten users."""
    assert affordable(trees.RULE, users=users, rankers=3) is of_trees
    assert affordable(log_linear.RULE, users=users, rankers=3) is of_weights
    assert affordable(reciprocal_rank.RULE, users=users, rankers=3) is reciprocal_rank.RULE


def test_many_users_are_enough_for_every_rule():
    for rule in RULES:
        assert affordable(rule, users=4000, rankers=7) is rule
