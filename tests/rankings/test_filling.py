import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gloss.rankings.filling import by_popularity, continued, filled
from gloss.rankings.ranking import RankedItem, Ranking

ITEMS = tuple("abcdef")
POPULAR = by_popularity(ITEMS, np.array([1, 3, 3, 0, 2, 0]))


def test_the_most_bought_come_first_and_equals_as_they_stand():
    assert "".join(entry.item for entry in POPULAR) == "bceadf"
    assert [entry.score for entry in POPULAR] == [3, 3, 2, 1, 0, 0]


def test_what_is_listed_or_unwanted_does_not_fill():
    listed = Ranking("u", (RankedItem("c", 9.0, "query"),))
    full = filled(listed, POPULAR, length=4, without={"b"})
    assert "".join(entry.item for entry in full.entries) == "cead"
    assert full.entries[0] == listed.entries[0]
    assert [entry.score for entry in full.entries] == [9, 8, 7, 6]


@given(st.lists(st.sampled_from(ITEMS), unique=True), st.sets(st.sampled_from(ITEMS)))
def test_a_list_is_as_long_as_asked_or_holds_all_that_may_be_shown(listed, without):
    ranking = Ranking("u", tuple(RankedItem(item, 1.0) for item in listed))
    for length in range(1, 8):
        full = filled(ranking, POPULAR, length=length, without=without)
        items = [entry.item for entry in full.entries]
        left = set(ITEMS) - without - set(listed)
        assert items[: len(listed)] == listed
        assert len(items) == len(set(items))
        assert len(items) == max(len(listed), min(length, len(listed) + len(left)))


def test_others_stand_behind_a_list_as_they_are():
    listed = Ranking("u", (RankedItem("c", 9.0, "query"),))
    others = (RankedItem("c", 7.0), RankedItem("a", 8.0, "other"), RankedItem("b", 1.0))
    assert continued(listed, others, length=2).entries == (*listed.entries, others[1])
    assert continued(listed, others, length=9).entries == (*listed.entries, *others[1:])
