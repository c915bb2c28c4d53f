"""Every fusion rule of the tuple keeps what the seam promises."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gloss.data.histories import History
from gloss.errors import ConfigError
from gloss.fusion.rule import FittedFusion, FusionRequest
from gloss.fusion.rules import RULES, rule_named
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.table import RankingTable

ITEMS = "abcdefghijkl"


def listed(user: int, first: int) -> Ranking:
    """Six items from the `first` on."""
    items = [ITEMS[(first + n) % len(ITEMS)] for n in range(6)]
    entries = (RankedItem(item, 6.0 - n, because=f"{first}") for n, item in enumerate(items))
    return Ranking(f"u{user}", tuple(entries))


REQUEST = FusionRequest(
    [
        RankingTable.of([listed(user, user) for user in range(300)]),
        RankingTable.of([listed(user, user + 3) for user in range(300)]),
    ],
    [History(f"u{user}", tuple(ITEMS[: user % 5])) for user in range(300)],
    {item: n for n, item in enumerate(ITEMS)},
)
TARGETS = [ITEMS[(user + 3) % len(ITEMS)] for user in range(300)]


@pytest.fixture(scope="module", params=RULES, ids=lambda rule: rule.name)
def rule(request):
    if request.param.name == "trees":
        pytest.importorskip("lightgbm")
    return request.param


@pytest.fixture(scope="module")
def fitted(rule) -> FittedFusion:
    return rule.fit(REQUEST, TARGETS)


def of_user(user: int) -> FusionRequest:
    lists = [table.part(user, 1) for table in REQUEST.lists]
    return FusionRequest(lists, [REQUEST.histories[user]], REQUEST.times_bought)


def items(rankings: Sequence[Ranking]) -> list[list[str]]:
    return [[entry.item for entry in ranking.entries] for ranking in rankings]


def test_a_fused_list_has_the_items_of_the_lists_each_once(fitted):
    fused = fitted.fuse(REQUEST, length=99)
    assert list(fused.users) == [history.user for history in REQUEST.histories]
    lists = zip(items(fused), *(items(table) for table in REQUEST.lists), strict=True)
    for whole, first, second in lists:
        assert sorted(whole) == sorted({*first, *second})


def test_scores_fall_and_a_shorter_list_is_the_beginning_of_a_longer_one(fitted):
    fused = fitted.fuse(REQUEST, length=99)
    for ranking in fused:
        scores = [entry.score for entry in ranking.entries]
        assert scores == sorted(scores, reverse=True)
    assert items(fitted.fuse(REQUEST, length=4)) == [found[:4] for found in items(fused)]


def test_a_reason_is_that_of_a_list_that_holds_the_item(fitted):
    reasons = [
        {entry.item: entry.because for entry in ranking.entries}
        for table in REQUEST.lists
        for ranking in table
    ]
    for user, ranking in enumerate(fitted.fuse(REQUEST, length=99)):
        for entry in ranking.entries:
            known = {reasons[user].get(entry.item), reasons[user + 300].get(entry.item)}
            assert entry.because in known - {None}


def test_a_user_gets_the_same_list_alone(fitted):
    fused = fitted.fuse(REQUEST, length=5)
    for user in (0, 7, 299):
        (alone,) = fitted.fuse(of_user(user), length=5)
        assert alone == fused[user]


def test_what_was_fitted_is_read_again_to_the_last_bit(rule, fitted, tmp_path):
    for name, text in fitted.files().items():
        (tmp_path / name).write_text(text, "utf-8")
    again = rule.load(tmp_path)
    assert again.fuse(REQUEST, length=5) == fitted.fuse(REQUEST, length=5)
    assert again.summary(["one", "two"]) == fitted.summary(["one", "two"])


def test_rules_are_found_by_their_names():
    assert [rule_named(rule.name) for rule in RULES] == [*RULES]
    assert len({rule.label for rule in RULES}) == len(RULES)
    with pytest.raises(ConfigError, match=r"unknown fusion rule 'tree' \(did you mean trees\?\)"):
        rule_named("tree")
