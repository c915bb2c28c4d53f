import json
from dataclasses import replace

import numpy as np
import pytest

from gloss.data.histories import Example, History
from gloss.errors import ConfigError, InputError
from gloss.fusion import log_linear, trees
from gloss.fusion.own_purchases import PURCHASE_FEATURES
from gloss.fusion.rule import FittedFusion, FusionRequest
from gloss.fusion.trees import Trees
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.table import RankingTable

ITEMS = "abcdefghij"


def listed(scores: dict[str, float], *, user: str, why: str) -> Ranking:
    order = sorted(scores, key=lambda item: -scores[item])
    return Ranking(user, tuple(RankedItem(i, scores[i], because=f"{why}{i}") for i in order))


def crowd(count: int, seed: int = 0) -> tuple[list[list[Ranking]], list[Example]]:
    """Users who buy what leads both of two lists, or else what stands second in both.

    Where the leaders differ, the sum of a leader's scores is still the largest.
    """
    rng = np.random.default_rng(seed)
    lists, examples = ([], []), []
    for number in range(count):
        first, second, third, *rest = (ITEMS[n] for n in rng.permutation(len(ITEMS)))
        noise = {item: float(rng.uniform(0, 1)) for item in rest}
        agreed = rng.random() < 0.5
        noise |= dict.fromkeys((first, third), 0.5)
        one = {**noise, first: 9.0, second: 3.0}
        two = {**noise, (first if agreed else third): 9.0, second: 3.0}
        for found, scores, why in zip(lists, (one, two), "xy", strict=True):
            found.append(listed(scores, user=f"u{number}", why=why))
        examples.append(Example(f"u{number}", (), first if agreed else second))
    return [*lists], examples


def request(rankers, examples, popularity) -> FusionRequest:
    tables = [RankingTable.of(lists) for lists in rankers]
    return FusionRequest(tables, [History(e.user, e.history) for e in examples], popularity)


def fit(rankers, examples, popularity, *, rule=trees) -> FittedFusion:
    targets = [example.target for example in examples]
    return rule.fit(request(rankers, examples, popularity), targets)


def fuse(rankers, examples, fitted, popularity, *, length: int) -> RankingTable:
    return fitted.fuse(request(rankers, examples, popularity), length=length)


def hits(rankings, examples) -> float:
    pairs = zip(rankings, examples, strict=True)
    return float(np.mean([ranking.entries[0].item == each.target for ranking, each in pairs]))


@pytest.fixture(scope="module")
def fitted() -> Trees:
    return fit(*crowd(600), {})


def test_trees_learn_what_no_weighted_sum_can_say(fitted):
    rankers, examples = crowd(200, seed=1)
    weights = fit(*crowd(600), {}, rule=log_linear)
    assert hits(fuse(rankers, examples, fitted, {}, length=3), examples) > 0.95
    assert hits(fuse(rankers, examples, weights, {}, length=3), examples) < 0.6


def test_the_same_lists_give_the_same_trees(fitted):
    assert fit(*crowd(600), {}) == fitted


def test_trees_are_read_from_their_files(fitted, tmp_path):
    for name, text in fitted.files().items():
        (tmp_path / name).write_text(text)
    assert trees.RULE.load(tmp_path) == fitted


def test_a_user_gets_the_same_list_alone(fitted):
    rankers, asked = crowd(20, seed=3)
    together = fuse(rankers, asked, fitted, {}, length=5)
    alone = [
        fuse([[each[n]] for each in rankers], [asked[n]], fitted, {}, length=5) for n in range(20)
    ]
    assert [*together] == [ranking for (ranking,) in alone]


def test_an_item_carries_the_reason_of_the_list_that_ranks_it_highest(fitted):
    one = listed({"a": 3.0, "b": 1.0}, user="u", why="x")
    two = listed({"b": 3.0, "c": 2.0, "a": 1.0}, user="u", why="y")
    (fused,) = fuse([[one], [two]], [Example("u", (), "a")], fitted, {}, length=3)
    assert {e.item: e.because for e in fused.entries} == {"a": "xa", "b": "yb", "c": "yc"}


def test_the_summary_says_what_each_list_gained(fitted):
    summary = json.loads(json.dumps(fitted.summary(["one", "two"])))
    assert summary["fitted on users"] == 600
    assert list(summary["gains"]) == ["one", "two", "popularity", "history length"]
    assert sum(summary["gains"].values()) == pytest.approx(1, abs=1e-3)


def test_trees_see_how_often_an_item_was_bought_and_how_long_a_history_is():
    # No list tells the two items apart; who bought little before takes the popular one.
    rng = np.random.default_rng(0)
    lists, examples = [], []
    for number in range(1600):
        long = bool(rng.random() < 0.3)
        entries = listed({"a": 1.0, "b": 1.0}, user=f"u{number}", why="x").entries
        lists.append(Ranking(f"u{number}", entries[:: int(rng.choice([1, -1]))]))
        examples.append(Example(f"u{number}", ("c",) * (20 if long else 2), "b" if long else "a"))
    popularity = {"a": 900, "b": 3}
    fitted = fit([lists], examples, popularity)
    assert hits(fuse([lists], examples, fitted, popularity, length=1), examples) > 0.65
    assert hits(fuse([lists], examples, fitted, {}, length=1), examples) < 0.6

    def leads_by(history: int) -> float:
        asked = [Example("u0", ("c",) * history, "a")]
        (fused,) = fuse([lists[:1]], asked, fitted, popularity, length=2)
        assert fused.entries[0].item == "a"
        return fused.entries[0].score - fused.entries[1].score

    assert leads_by(2) > leads_by(20) + 1e-3


def regulars(count: int, seed: int = 0) -> tuple[list[list[Ranking]], list[Example]]:
    """Users whose one list holds two items in no order; they buy again what they had twice."""
    rng = np.random.default_rng(seed)
    lists, examples = [], []
    for number in range(count):
        twice, once = (ITEMS[n] for n in rng.permutation(len(ITEMS))[:2])
        entries = [RankedItem(twice, 1.0), RankedItem(once, 1.0)]
        lists.append(Ranking(f"u{number}", tuple(entries[:: int(rng.choice([1, -1]))])))
        examples.append(Example(f"u{number}", (twice, once, twice), twice))
    return [lists], examples


def test_where_bought_items_are_kept_trees_see_what_the_user_bought():
    kept, asked = regulars(800), regulars(200, seed=1)
    targets = [example.target for example in kept[1]]
    sees = trees.fit(replace(request(*kept, {}), exclude_seen=False), targets)
    blind = trees.fit(request(*kept, {}), targets)
    assert hits(fuse(*asked, sees, {}, length=2), asked[1]) == 1
    assert hits(fuse(*asked, blind, {}, length=2), asked[1]) < 0.7
    assert [*sees.summary(["one"])["gains"]][-2:] == [*PURCHASE_FEATURES]


def test_a_rule_says_what_it_sees_in_lists_that_keep_what_was_bought():
    assert trees.RULE.features_of(exclude_seen=True) == trees.RULE.features
    assert trees.RULE.features_of(exclude_seen=False)[-2:] == PURCHASE_FEATURES
    assert log_linear.RULE.features_of(exclude_seen=False) == log_linear.RULE.features


def test_nobody_and_empty_lists_are_fused(fitted):
    assert fuse([[], []], [], fitted, {}, length=3) == ()
    empty = Ranking("u", ())
    asked = [Example("u", ("a",), "b")]
    assert fuse([[empty], [empty]], asked, fitted, {}, length=3) == (empty,)


def test_what_does_not_fit_together_is_refused(fitted):
    rankers, examples = crowd(5)
    with pytest.raises(ConfigError, match="8 features cannot fuse 1 rankings, which have 5"):
        fuse(rankers[:1], examples, fitted, {}, length=1)
    with pytest.raises(InputError, match="nothing to fit on"):
        fit(rankers, [Example(each.user, (), "z") for each in examples], {})
