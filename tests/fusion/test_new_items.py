"""Fits that meet new items: what is taken out of lists, and what trees make of it."""

from __future__ import annotations

import numpy as np
import pytest

from gloss.data.histories import History
from gloss.fusion import trees
from gloss.fusion.new_items import taught_requests
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
    as_it_is, taught = taught_requests(request(counted, by_title, 0.5))
    new = {*OLD} - {*taught.times_bought}
    assert 5 < len(new) < 25
    assert as_it_is.times_bought == dict.fromkeys(OLD, 5)
    assert [[e.item for e in each.entries] for each in taught.lists[0]] == [
        [item for item in each if item not in new] for each in counted
    ]
    assert taught.lists[1] == as_it_is.lists[1]


def test_without_a_share_or_a_ranker_of_titles_lists_stay_as_they_are():
    counted, by_title, _ = crowd(3, 0)
    assert len(taught_requests(request(counted, by_title, 0.0))) == 1
    blind = request(counted, by_title, 0.5)
    blind = FusionRequest(
        blind.lists, blind.histories, blind.times_bought, new_items=NewItems(0.5, (False, False))
    )
    assert taught_requests(blind) == [blind]


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
