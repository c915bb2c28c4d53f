from __future__ import annotations

import pytest

from gloss.data.catalogue import Catalogue, Item
from gloss.data.histories import History
from gloss.data.history_rows import HistoryRows
from gloss.rankers.popularity import Popularity, count_purchases
from gloss.rankers.ranker import NoSettings, RankRequest
from gloss.rankings.ranking import RankedItem

CATALOGUE = Catalogue(Item(item, f"title {item}") for item in "abcde")


def listed(rankings) -> list[str]:
    return ["".join(entry.item for entry in ranking.entries) for ranking in rankings]


@pytest.fixture
def train() -> list[History]:
    return [History("u", ("d", "b", "c")), History("v", ("d", "c", "b")), History("w", ("d", "e"))]


def counted(train):
    return count_purchases(HistoryRows.of(train, CATALOGUE), CATALOGUE, NoSettings())[
        "times_bought"
    ]


def popular(train, history: str, *, length: int = 3, exclude_seen: bool):
    ranker = Popularity.of(counted(train), CATALOGUE)
    (ranking,) = ranker.rank(RankRequest([History("u", tuple(history))], length, exclude_seen))
    return ranking


def test_the_most_bought_come_first_and_equals_in_catalogue_order(train):
    assert popular(train, "d", exclude_seen=False).entries == (
        RankedItem("d", 3.0, None),
        RankedItem("b", 2.0, None),
        RankedItem("c", 2.0, None),
    )


def test_popular_items_that_were_bought_make_room(train):
    assert listed([popular(train, "db", exclude_seen=True)]) == ["ce"]


def test_what_nobody_bought_is_not_popular(train):
    assert listed([popular(train, "", length=9, exclude_seen=False)]) == ["dbce"]


def test_without_training_data_nothing_is_popular():
    assert listed([popular([], "", exclude_seen=False)]) == [""]


def test_items_that_have_left_the_catalogue_are_not_popular(train):
    left = [row for row, item in enumerate(CATALOGUE) if item.id != "d"]
    ranker = Popularity.of(counted(train)[left], Catalogue(CATALOGUE[row] for row in left))
    (ranking,) = ranker.rank(RankRequest([History("u", ())], 9, exclude_seen=False))
    assert listed([ranking]) == ["bce"]
