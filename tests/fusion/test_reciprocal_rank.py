from __future__ import annotations

import pytest

from gloss.errors import ConfigError, InputError
from gloss.fusion.reciprocal_rank import ReciprocalRank
from gloss.fusion.rule import FusionRequest
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.table import RankingTable


def fuse(*lists: list[Ranking], length: int = 9) -> RankingTable:
    request = FusionRequest([RankingTable.of(each) for each in lists], [], {})
    return ReciprocalRank().fuse(request, length=length)


def listed(items: str, *, user: str = "u", why: str = "") -> Ranking:
    return Ranking(user, tuple(RankedItem(item, 1.0, because=why or None) for item in items))


def test_reciprocals_of_ranks_are_summed():
    (fused,) = fuse([listed("ab")], [listed("bc")])
    assert [(e.item, pytest.approx(e.score)) for e in fused.entries] == [
        ("b", 1 / 62 + 1 / 61),
        ("a", 1 / 61),
        ("c", 1 / 62),
    ]


def test_the_reason_is_that_of_the_list_that_ranks_it_highest():
    (fused,) = fuse([listed("ab", why="x")], [listed("bc", why="y")])
    assert {e.item: e.because for e in fused.entries} == {"a": "x", "b": "y", "c": "y"}


def test_a_user_without_any_list_stays_without_one():
    assert fuse([listed("")], [listed("")]) == (Ranking("u", ()),)


def test_what_does_not_fit_together_is_refused():
    one = [listed("a", user="u")]
    with pytest.raises(InputError, match="not of the same users"):
        fuse(one, [listed("a", user="v")])
    with pytest.raises(InputError, match="different numbers of users"):
        fuse(one, [*one, *one])
    with pytest.raises(ConfigError, match="at least one"):
        fuse()
