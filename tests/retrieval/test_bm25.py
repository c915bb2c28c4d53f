import math

import bm25s
import numpy as np
import pytest

from gloss.data.catalogue import Catalogue, Item
from gloss.errors import ConfigError, InputError
from gloss.retrieval.bm25 import BM25
from gloss.retrieval.index import IndexSettings

TITLES = ("Red kite", "Blue kite with a long tail", "Red ball", "The Of And", "Red kite")
PAPER = IndexSettings(title_style="paper", marker=True, exact_first=False)
FAIR = IndexSettings(exact_first=False)


def catalogue(titles=TITLES) -> Catalogue:
    return Catalogue(Item(f"b{row}", title) for row, title in enumerate(titles))


def rows(retriever, text, k=5):
    (hits,) = retriever.search([text], k)
    return [hit.row for hit in hits]


def test_the_score_is_the_published_formula():
    retriever = BM25.build(catalogue(("red kite", "blue ball pump")), FAIR)
    ((hit,),) = retriever.search(["kite"], 5)
    idf = math.log(1 + (2 - 1 + 0.5) / (1 + 0.5))
    length = 2 / ((2 + 3) / 2)
    assert hit.score == pytest.approx(idf * 1 / (1.5 * (1 - 0.75 + 0.75 * length) + 1), rel=1e-6)


def test_equal_titles_stand_in_catalogue_order():
    assert rows(BM25.build(catalogue(), FAIR), "red kite", 2) == [0, 4]


@pytest.mark.parametrize("settings", [PAPER, FAIR], ids=["marker", "no marker"])
@pytest.mark.parametrize("text", ["", "   ", "the and", "xyzzy", "Title: ", "?"])
def test_a_text_without_a_known_word_finds_nothing(settings, text):
    assert rows(BM25.build(catalogue(), settings), text) == []


def test_without_the_marker_only_titles_that_share_a_word_are_found():
    assert sorted(rows(BM25.build(catalogue(), FAIR), "tail ball xyzzy")) == [1, 2]


def test_with_the_marker_the_list_is_filled_as_in_the_published_system():
    found = rows(BM25.build(catalogue(), PAPER), "tail")
    assert found[0] == 1
    assert found[1:] == [3, 0, 2, 4]  # the shortest first: the marker weighs more in them


@pytest.mark.parametrize("settings", [PAPER, FAIR], ids=["marker", "no marker"])
def test_scores_are_those_of_bm25s_to_the_last_bit(settings):
    start = "Title: " if settings.marker else ""
    documents = [start + title for title in TITLES]
    library = bm25s.BM25()
    library.index(bm25s.tokenize(documents, show_progress=False), show_progress=False)
    for text in ("red red kite tail", "Ball kite red"):
        words = bm25s.tokenize([start + text], return_ids=False, show_progress=False)[0]
        scores = np.zeros(len(TITLES), dtype=np.float32)
        (hits,) = BM25.build(catalogue(), settings).search([text], len(TITLES))
        for hit in hits:
            scores[hit.row] = hit.score
        assert scores.tolist() == library.get_scores(words).tolist()


def test_a_word_said_twice_counts_twice():
    retriever = BM25.build(catalogue(), FAIR)
    ((once, *_), (twice, *_)) = retriever.search(["tail", "tail tail"], 1)
    assert twice.score == 2 * once.score


def test_hits_come_back_in_the_order_of_the_texts_also_of_equal_ones():
    found = BM25.build(catalogue(), FAIR).search(["ball", "tail", "ball"], 1)
    assert [hit.item for hits in found for hit in hits] == ["b2", "b1", "b2"]


def test_no_texts_find_nothing():
    assert BM25.build(catalogue(), FAIR).search([], 3) == []


@pytest.mark.parametrize("settings", [PAPER, FAIR], ids=["marker", "no marker"])
def test_a_catalogue_without_words_is_an_error(settings):
    with pytest.raises(InputError, match="no title of the catalogue holds a word"):
        BM25.build(catalogue(("The", "?")), settings)


def test_unknown_stop_words_are_an_error_that_names_them():
    with pytest.raises(ConfigError, match="stopwords='klingon'"):
        BM25.build(catalogue(), IndexSettings(stopwords="klingon"))
