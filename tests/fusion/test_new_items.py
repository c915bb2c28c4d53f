"""Fits that meet new items: what is taken out of lists, and what trees make of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gloss.data.histories import History
from gloss.fusion import trees
from gloss.fusion.new_items import Scored, arrivals, fitted_lift, training_requests
from gloss.fusion.rule import FusionRequest, NewItems
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.table import RankingTable

ITEMS = tuple(f"b{n:02}" for n in range(40))
OLD, NEW = ITEMS[:30], ITEMS[30:]


def table(lists: list[list[str]]) -> RankingTable:
    entries = [
        tuple(RankedItem(i, 1 / (1 + rank)) for rank, i in enumerate(each)) for each in lists
    ]
    return RankingTable.of([Ranking(f"u{n}", each) for n, each in enumerate(entries)])


def request(counted: list[list[str]], by_title: list[list[str]], share: float) -> FusionRequest:
    """Two rankers: one that counts purchases, and one that reads titles."""
    return FusionRequest(
        [table(counted), table(by_title)],
        [History(f"u{n}", ()) for n in range(len(counted))],
        dict.fromkeys(OLD, 5),
        new_items=NewItems(share, (False, True)) if share else None,
    )


def crowd(count: int, seed: int) -> tuple[list[list[str]], list[list[str]], list[str]]:
    """Users who buy the first of what titles say, whatever is counted; four items in each list."""
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(30) for _ in range(count)]
    counted = [[OLD[n] for n in [*each[:2], *each[4:6]]] for each in drawn]
    by_title = [[OLD[n] for n in each[:4]] for each in drawn]
    return counted, by_title, [each[0] for each in by_title]


def test_items_made_new_leave_the_lists_of_rankers_that_cannot_know_them_and_the_counts():
    counted, by_title = [[*OLD[:6]], [*OLD[6:12]]], [[*OLD[:4]], [*OLD[6:10]]]
    as_it_is, taught = training_requests(request(counted, by_title, 0.5))
    new = {*OLD} - {*taught.times_bought}
    assert 5 < len(new) < 25
    assert as_it_is.times_bought == dict.fromkeys(OLD, 5)
    assert [[e.item for e in each.entries] for each in taught.lists[0]] == [
        [item for item in each if item not in new] for each in counted
    ]
    assert taught.lists[1] == as_it_is.lists[1]


def test_without_a_share_or_a_ranker_of_titles_lists_stay_as_they_are():
    counted, by_title, _ = crowd(3, 0)
    assert len(training_requests(request(counted, by_title, 0.0))) == 1
    blind = request(counted, by_title, 0.5)
    blind = FusionRequest(
        blind.lists, blind.histories, blind.times_bought, new_items=NewItems(0.5, (False, False))
    )
    assert training_requests(blind) == [blind]


def test_trees_that_met_new_items_put_one_first_where_titles_do():
    """Everybody buys the first of what titles say. Where both lists hold it, as they do of all that
    was ever bought, trees may as well go by what is counted; of a new item titles alone speak."""
    pytest.importorskip("lightgbm")
    counted, by_title, targets = crowd(600, 0)
    asked_counted, asked_titles, _ = crowd(100, 1)
    asked_titles = [[NEW[n % 10], *each[:3]] for n, each in enumerate(asked_titles)]
    first = {}
    for share in (0.0, 0.5):
        fitted = trees.fit(request(counted, by_title, share), targets)
        lists = fitted.fuse(request(asked_counted, asked_titles, 0.0), length=6)
        first[share] = np.mean([each.entries[0].item in NEW for each in lists])
    assert first[0.5] > 0.9
    assert first[0.0] < first[0.5]


# The lift


def scored(
    scores: list[float], users: list[int], new: list[int], bought: list[int], ranks: list[float]
) -> Scored:
    """Candidates of one list besides the scores."""
    places = np.arange(len(scores))
    is_new, is_bought = np.isin(places, new), np.isin(places, bought)
    return Scored(np.array(scores), np.array(users), is_new, is_bought, np.array([ranks]).T)


def test_new_answers_alone_are_measured_among_all_candidates():
    """User 0 bought the new item 1, which two others beat; user 1 the old item 4, the first."""
    each = scored(
        [3.0, 1.0, 2.0, 0.5, 1.5], [0, 0, 0, 1, 1], new=[1, 3], bought=[1, 4], ranks=[2, 1, 0, 1, 0]
    )
    assert each.of_parts().tolist() == [[pytest.approx(1 / np.log2(1 + 2))]]
    assert each.fused(0.0) == pytest.approx([1 / np.log2(2 + 2)])
    assert each.fused(1.5) == pytest.approx([1 / np.log2(1 + 2)])


def test_new_items_are_lifted_until_the_fused_list_finds_more_of_them_than_its_best_part():
    """The part has them third. So has the score, 0.3 behind the second."""
    users, new = np.repeat(np.arange(30), 3).tolist(), [*range(2, 90, 3)]
    third = scored([2.0, 1.3, 1.0] * 30, users, new, bought=new, ranks=[0, 1, 2] * 30)
    second = fitted_lift([third])
    assert 0.3 < second < 0.35  # the step is a tenth of 0.42, the deviation of 2, 1.3 and 1
    assert third.of_parts().mean() == pytest.approx(1 / np.log2(2 + 2))
    assert third.fused(second).mean() == pytest.approx(1 / np.log2(1 + 2))
    first = scored([2.0, 1.3, 3.0] * 30, users, new, bought=new, ranks=[0, 1, 2] * 30)
    assert fitted_lift([first]) == 0.0  # they lead already


def test_of_few_new_answers_no_lift_is_fitted():
    one = scored([2.0, 1.0], [0, 0], new=[1], bought=[1], ranks=[1, 0])
    assert fitted_lift([one]) == fitted_lift([]) == 0.0


def test_a_lift_is_fitted_on_lists_in_which_a_tenth_of_the_items_is_new():
    counted, by_title, _ = crowd(3, 0)
    many = {f"c{n}": 1 for n in range(2000)}
    asked = replace(request(counted, by_title, 0.5), times_bought=many)
    made_new = [{*many} - {*each.times_bought} for each in arrivals(asked)]
    assert all(150 < len(new) < 250 for new in made_new)
    assert made_new[0] != made_new[1]
    assert list(arrivals(replace(asked, new_items=None))) == []


def test_trees_keep_their_lift(tmp_path):
    pytest.importorskip("lightgbm")
    counted, by_title, targets = crowd(300, 0)
    fitted = replace(trees.fit(request(counted, by_title, 0.5), targets), lift=0.25)
    for name, text in fitted.files().items():
        (tmp_path / name).write_text(text)
    assert trees.RULE.load(tmp_path) == fitted
    asked = request(counted[:5], [[NEW[0], *each[:3]] for each in by_title[:5]], 0.0)
    scores = {}
    for each in (fitted, replace(fitted, lift=0.0)):
        lists = each.fuse(asked, length=9)
        scores[each.lift] = [{e.item: e.score for e in ranking.entries} for ranking in lists]
    for lifted, plain in zip(scores[0.25], scores[0.0], strict=True):
        assert {i: lifted[i] - plain[i] for i in plain} == pytest.approx(
            {i: 0.25 if i == NEW[0] else 0.0 for i in plain}
        )
