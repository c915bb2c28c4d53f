import pytest

from gloss.data.catalogue import Catalogue, Item
from gloss.data.histories import Example, History
from gloss.rankers import last_item_search, popularity
from gloss.rankings.ranking import RankedItem
from gloss.retrieval.index import build_index
from gloss.retrieval.retriever import IndexSettings

CATALOGUE = Catalogue(
    Item(item, title)
    for item, title in [
        ("a", "red kite"),
        ("b", "red kite tail"),
        ("c", "red kite tail blue"),
        ("d", "red kite tail blue long"),
        ("e", "ball"),
    ]
)
RETRIEVER = build_index(CATALOGUE, IndexSettings())


def listed(rankings) -> list[str]:
    return ["".join(entry.item for entry in ranking.entries) for ranking in rankings]


def last_item(*histories: str, length: int = 2, exclude_seen: bool) -> list[str]:
    examples = [Example(f"u{n}", tuple(items), "e") for n, items in enumerate(histories)]
    found = last_item_search(
        examples, CATALOGUE, RETRIEVER, length=length, exclude_seen=exclude_seen
    )
    assert [ranking.user for ranking in found] == [example.user for example in examples]
    return listed(found)


def test_the_last_item_itself_stands_first_when_seen_items_stay():
    assert last_item("ea", "b", exclude_seen=False) == ["ab", "bc"]


def test_lists_are_full_without_what_was_bought():
    assert last_item("a", "ba", "cba", exclude_seen=True) == ["bc", "cd", "d"]


def test_a_user_without_a_purchase_has_an_empty_list():
    assert last_item("", "e", exclude_seen=False) == ["", "e"]


def test_the_query_is_the_title_of_the_last_item():
    examples = [Example("u", ("e", "a"), "b")]
    (ranking,) = last_item_search(examples, CATALOGUE, RETRIEVER, length=1, exclude_seen=False)
    assert [entry.query for entry in ranking.entries] == ["red kite"]


@pytest.fixture
def train() -> list[History]:
    return [History("u", ("d", "b", "c")), History("v", ("d", "c", "b")), History("w", ("d", "e"))]


def popular(train, history: str, *, length: int = 3, exclude_seen: bool):
    examples = [Example("u", tuple(history), "a")]
    (ranking,) = popularity(train, examples, CATALOGUE, length=length, exclude_seen=exclude_seen)
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
