from __future__ import annotations

from gloss.data.catalogue import Catalogue, Item
from gloss.data.histories import History
from gloss.rankers.last_item import LastItemSearch
from gloss.rankers.ranker import RankRequest
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
RANKER = LastItemSearch(CATALOGUE, build_index(CATALOGUE, IndexSettings()))


def listed(rankings) -> list[str]:
    return ["".join(entry.item for entry in ranking.entries) for ranking in rankings]


def last_item(*histories: str, length: int = 2, exclude_seen: bool) -> list[str]:
    asked = [History(f"u{n}", tuple(items)) for n, items in enumerate(histories)]
    found = RANKER.rank(RankRequest(asked, length, exclude_seen))
    return listed(found)


def test_the_last_item_itself_stands_first_when_seen_items_stay():
    assert last_item("ea", "b", exclude_seen=False) == ["ab", "bc"]


def test_lists_are_full_without_what_was_bought():
    assert last_item("a", "ba", "cba", exclude_seen=True) == ["bc", "cd", "d"]


def test_a_user_without_a_purchase_has_an_empty_list():
    assert last_item("", "e", exclude_seen=False) == ["", "e"]


def test_the_query_is_the_title_of_the_last_item_which_is_the_reason():
    (ranking,) = RANKER.rank(RankRequest([History("u", ("e", "a"))], 1, exclude_seen=False))
    assert [(entry.query, entry.because) for entry in ranking.entries] == [("red kite", "a")]
