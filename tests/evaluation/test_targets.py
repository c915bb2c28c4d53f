from __future__ import annotations

import pytest

from gloss.data.example_table import ExampleTable
from gloss.data.histories import Example
from gloss.errors import InputError
from gloss.evaluation.targets import TargetRanks, Targets
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.table import RankingTable

EXAMPLES = ExampleTable.of(
    [Example("u", ("x", "y"), "a"), Example("v", ("x",), "b"), Example("w", (), "c")]
)


def lists(**of_users: str) -> RankingTable:
    return RankingTable.of(
        [
            Ranking(user, tuple(RankedItem(i, 0.0) for i in items))
            for user, items in of_users.items()
        ]
    )


def ranks() -> TargetRanks:
    return TargetRanks(Targets.of([EXAMPLES[:2], EXAMPLES[2:]]))


def test_lists_may_come_in_parts_and_in_any_order():
    measured = ranks()
    measured.add(lists(w="abc", u="ba"))
    measured.add(lists(v=""))
    targets, found = measured.ranked()
    assert targets.users.to_list() == ["u", "v", "w"]
    assert targets.lengths.tolist() == [2, 1, 0]
    assert found.tolist() == [2, 0, 3]


def test_who_was_not_ranked_is_left_out():
    measured = ranks()
    measured.add(lists(w="c"))
    targets, found = measured.ranked()
    assert (targets.users.to_list(), targets.items.to_list()) == (["w"], ["c"])
    assert found.tolist() == [1]


def test_a_user_of_two_parts_is_ranked_twice():
    measured = ranks()
    measured.add(lists(u="a"))
    with pytest.raises(InputError, match="holds a user twice"):
        measured.add(lists(v="a", u="b"))


def test_strangers_of_all_parts_are_counted():
    measured = ranks()
    measured.add(lists(u="a", z="a"))
    measured.add(lists(x="a", v="b"))
    with pytest.raises(InputError, match="user x and 1 more of the ranking are not in the split"):
        measured.ranked()
