import pytest

from gloss.data.catalogue import Catalogue, Item
from gloss.errors import ConfigError
from gloss.retrieval.lexical.bm25 import BM25
from gloss.retrieval.lexical.exact_titles import Exact, ExactFirst
from gloss.retrieval.retriever import Hit, IndexSettings

CATALOGUE = Catalogue(
    Item(item, title)
    for item, title in [
        ("b0", "red kite"),
        ("b1", "Red kite"),
        ("b2", "Red ball"),
        ("b3", "Red kite"),
        ("b4", "?"),
    ]
)
EXACT = Exact(CATALOGUE)
BOTH = ExactFirst(EXACT, BM25.build(CATALOGUE, IndexSettings()))


def items(retriever, text, k=9):
    (hits,) = retriever.search([text], k)
    return [hit.item for hit in hits]


def test_every_item_of_a_title_is_found_and_scores_one():
    assert EXACT.search(["Red kite"], 9) == [(Hit("b1", 1, 1.0), Hit("b3", 3, 1.0))]


def test_another_case_is_another_title():
    assert items(EXACT, "Red Kite") == []


def test_exact_titles_come_before_equally_good_words_and_nothing_comes_twice():
    assert items(BOTH, "Red kite") == ["b1", "b3", "b0", "b2"]


def test_the_list_is_cut_after_joining():
    assert items(BOTH, "Red kite", 1) == ["b1"]
    assert items(BOTH, "Red kite", 3) == ["b1", "b3", "b0"]


def test_without_an_exact_title_the_words_decide():
    assert items(BOTH, "ball") == ["b2"]


def test_an_exact_title_without_a_word_is_found():
    assert BOTH.search(["?"], 3) == [(Hit("b4", 4, 1.0),)]


def test_an_unknown_title_finds_nothing():
    assert BOTH.search(["", "xyzzy"], 3) == [(), ()]


def test_scores_never_rise_along_the_list():
    (hits,) = BOTH.search(["Red kite"], 9)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == scores[1] == scores[2] + 1


def test_asking_for_no_items_is_an_error():
    with pytest.raises(ConfigError, match="at least 1"):
        EXACT.search(["Red kite"], 0)
