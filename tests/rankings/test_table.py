import numpy as np
import polars as pl
import pytest

from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.table import RankingTable, distinct

RANKINGS = (
    Ranking("u", (RankedItem("b1", 0.25, "Red kite"), RankedItem("b2", -3.5, because="b9"))),
    Ranking("nobody", ()),
    Ranking("v", (RankedItem("b2", 1.0), RankedItem("b3", 1.0), RankedItem("b1", 0.0))),
)
LISTS = RankingTable.of(RANKINGS)


def test_columns_are_a_sequence_of_the_rankings_they_were_made_of():
    assert LISTS == RANKINGS
    assert RANKINGS == LISTS
    assert [LISTS[n] for n in range(3)] == [*RANKINGS]
    assert LISTS[-1] == RANKINGS[-1]
    assert LISTS[1:] == RANKINGS[1:]
    assert RankingTable.of(LISTS) is LISTS
    with pytest.raises(IndexError):
        LISTS[3]


def test_other_rankings_are_not_equal():
    assert RANKINGS[:2] != LISTS
    assert (*RANKINGS[:2], Ranking("v", RANKINGS[2].entries[:2])) != LISTS
    assert LISTS != 3


def test_each_entry_knows_whose_it_is_and_its_place():
    assert LISTS.rows.tolist() == [0, 0, 2, 2, 2]
    assert LISTS.places.tolist() == [0, 1, 0, 1, 2]
    assert LISTS.starts.tolist() == [0, 2, 2]


@pytest.mark.parametrize("length", [0, 1, 2, 9])
def test_the_first_of_each_list(length):
    assert LISTS.first(length) == [Ranking(r.user, r.entries[:length]) for r in RANKINGS]


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_parts_are_joined_to_the_whole(count):
    parts = [LISTS.part(first, count) for first in range(0, 3, count)]
    assert [len(part) for part in parts] == [min(count, 3 - n) for n in range(0, 3, count)]
    assert RankingTable.joined(parts) == RANKINGS


def test_nobody_has_lists_too():
    nobody = RankingTable.of(())
    assert nobody == ()
    assert nobody.part(0, 5) == nobody.first(5) == RankingTable.joined([]) == ()


def test_strings_are_numbered_as_they_first_stand():
    names, (one, none, other) = distinct([pl.Series(["b", "a", "b"]), EMPTY, pl.Series(["c", "a"])])
    assert names.to_list() == ["b", "a", "c"]
    assert (one.tolist(), none.tolist(), other.tolist()) == ([0, 1, 0], [], [2, 1])
    assert one.dtype == np.int64


def test_no_strings_have_no_numbers():
    names, (numbers,) = distinct([EMPTY])
    assert (names.to_list(), numbers.tolist()) == ([], [])


EMPTY = pl.Series([], dtype=pl.String)
