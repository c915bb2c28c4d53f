"""The user's own purchases: how often, how lately, and whether they are due."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from gloss.data.catalogue import Catalogue, Item
from gloss.data.histories import History
from gloss.data.history_rows import HistoryRows
from gloss.rankers.ranker import RankRequest
from gloss.rankers.repeats import Intervals, Repeats, RepeatsSettings, count_intervals

ITEMS = "abcdef"
CATALOGUE = Catalogue(Item(item, f"title {item}") for item in ITEMS)


def histories(*rows: str) -> list[History]:
    return [History(f"t{n}", tuple(row)) for n, row in enumerate(rows)]


def counted(*rows: str) -> Intervals:
    return Intervals(
        **count_intervals(HistoryRows.of(histories(*rows), CATALOGUE), CATALOGUE, RepeatsSettings())
    )


def listed(history: str, *, decay: float = 1.0, train: tuple[str, ...] = (), **request):
    due = counted(*train).hazard(prior=1.0) if train else None
    asked = {"length": 9, "exclude_seen": False, **request}
    ranker = Repeats(CATALOGUE, due, decay)
    (ranking,) = ranker.rank(RankRequest([History("u", tuple(history))], **asked))
    return ranking


def scores(ranking) -> dict[str, float]:
    return {entry.item: pytest.approx(entry.score) for entry in ranking.entries}


def test_without_decay_and_intervals_the_most_bought_stand_first_and_equals_by_row():
    counts = {"b": 3, "c": 2, "a": 1, "d": 1}
    assert scores(listed("cabcbbd")) == {item: log(count) for item, count in counts.items()}
    assert [entry.item for entry in listed("cabcbbd").entries] == [*counts]


def test_later_purchases_count_more():
    # a b a: a counts 1 for the last purchase and 1/4 for the one two before it, b counts 1/2.
    assert scores(listed("aba", decay=0.5)) == {"a": log(1 + 1 / 4), "b": log(1 / 2)}


def test_an_item_is_there_because_of_itself():
    assert {entry.item: entry.because for entry in listed("ab").entries} == {"a": "a", "b": "b"}


def test_lists_without_what_was_bought_are_empty_and_rules_are_kept():
    assert listed("aab", exclude_seen=True).entries == ()
    allowed = np.array([item != "a" for item in ITEMS])
    assert scores(listed("aab", allowed=allowed)) == {"b": log(1)}
    assert scores(listed("aab", length=1)) == {"a": log(2)}
    assert listed("").entries == ()


def test_waits_and_repeats_are_counted_by_gap():
    """In a b a c: a comes again after 2 and then waits for one purchase; b waits for two."""
    found = counted("abac")
    assert found.again.tolist() == [[0, 1, *[0] * 6], *[[0] * 8] * 5]
    # a: gap 1 at b and at c, gap 2 at the second a; b: gaps 1 and 2; c: nothing comes after it.
    assert found.waited[:3, :2].tolist() == [[2, 1], [1, 1], [0, 0]]
    assert found.waited.sum() == 2 + 1 + 1 + 1


def test_wide_bins_hold_every_gap_of_theirs():
    # The last a follows after 9 purchases: gaps 1 | 2 3 | 4 5 6 7 | 8 9.
    found = counted("abcdefbcda")
    assert found.again[0].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    assert found.waited[0].tolist() == [1, 2, 4, 2, 0, 0, 0, 0]


def test_histories_are_counted_one_by_one():
    together, first, second = counted("aba", "bbc"), counted("aba"), counted("bbc")
    assert together.again.tolist() == (first.again + second.again).tolist()
    assert together.waited.tolist() == (first.waited + second.waited).tolist()
    assert counted().waited.tolist() == [[0] * 8] * 6


def test_the_hazard_is_the_share_of_chances_taken_drawn_towards_that_of_all_items():
    found = counted("abac")
    # All items: gap 1 was taken 0 of 3 times, gap 2-3 once of 2; one in two is added to each.
    everywhere = (0 + 1) / (3 + 2), (1 + 1) / (2 + 2)
    assert found.hazard(prior=2.0)[0, :2].tolist() == pytest.approx(
        [(0 + 2 * everywhere[0]) / (2 + 2), (1 + 2 * everywhere[1]) / (1 + 2)]
    )


def test_a_score_is_the_logarithm_of_count_times_hazard():
    train = ("abac",)
    due = counted(*train).hazard(prior=1.0)
    # In b a a: a twice, the last time 1 purchase back; b once, 3 purchases back.
    expected = {"a": log(2 * due[0, 0]), "b": log(1 * due[1, 1])}
    assert scores(listed("baa", train=train)) == expected


def test_what_is_due_comes_before_what_was_bought_just_now():
    """Everybody buys a, b, c and d in turn: after d comes a, bought four purchases ago."""
    assert listed("abcdabcd", decay=0.9).entries[0].item == "d"
    assert listed("abcdabcd", decay=0.9, train=("abcdabcdabcd",) * 20).entries[0].item == "a"
