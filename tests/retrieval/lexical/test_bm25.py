import math
import random

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gloss.data.catalogue import Catalogue, Item
from gloss.errors import ConfigError, InputError
from gloss.retrieval.lexical.bm25 import BM25, known_words
from gloss.retrieval.lexical.words import words_of
from gloss.retrieval.settings import BM25Settings

TITLES = ("Red kite", "Blue kite with a long tail", "Red ball", "The Of And", "Red kite")
PAPER = BM25Settings(title_style="paper", marker=True, exact_first=False)
FAIR = BM25Settings(exact_first=False)


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
        BM25.build(catalogue(), BM25Settings(stopwords="klingon"))


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("aAİıßé_0  the'-\u0301\u200d"))))
def test_published_words_are_those_of_bm25s(text):
    words = bm25s.tokenize([text], stopwords="en", return_ids=False, show_progress=False)[0]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    assert known_words(text, vocabulary, "published") == [vocabulary[word] for word in words]


@given(st.text(alphabet="aBzéßñЖж αΩ0_9  '-,.½²🙂"))
def test_words_of_any_script_are_the_published_ones_where_spaces_divide_them(text):
    assert words_of("any-script")(text) == words_of("published")(text)


@pytest.mark.parametrize(
    ("titles", "text", "row"),
    [
        (("हिन्दी की किताब", "हिंदू धर्म", "हाथी का खिलौना"), "हिन्दी किताब", 0),
        (("红色风筝 大号", "红色茶壶", "蓝色风筝"), "风筝 红色", 0),
        (("红色风筝 大号", "红色茶壶", "蓝色足球"), "壶", 1),
        (("กระเป๋าเดินทางสีแดง", "กระเป๋าสตางค์", "รองเท้าเดินป่า"), "เดินป่า", 2),
        (("日本語の本", "日本のお茶", "英語の辞書"), "英語辞書", 2),
        (("한국어 책", "한국 차", "영어 사전"), "책", 0),
    ],
)
def test_the_title_that_is_meant_is_found_in_any_script(titles, text, row):
    best, *_ = BM25.build(catalogue(titles), FAIR).search([text], 3)[0]
    assert best.row == row


def test_published_words_miss_what_any_script_finds():
    titles = ("红色风筝 大号", "红色茶壶", "蓝色风筝")
    published = FAIR.model_copy(update={"words": "published"})
    assert BM25.build(catalogue(titles), published).search(["风筝"], 3) == [()]
    assert [hit.row for hit in BM25.build(catalogue(titles), FAIR).search(["风筝"], 3)[0]] == [2, 0]


def as_bm25s(titles, texts, settings, k):
    """(row, score) of the k best above 0, from every score that bm25s gives."""
    start = "Title: " if settings.marker else ""
    library = bm25s.BM25()
    tokens = bm25s.tokenize([start + title for title in titles], show_progress=False)
    library.index(tokens, create_empty_token=False, show_progress=False)
    lists = []
    for text in texts:
        (words,) = bm25s.tokenize([start + text], return_ids=False, show_progress=False)
        known = [word for word in words if word in library.vocab_dict]
        scores = library.get_scores(known).tolist() if known[bool(start) :] else []
        order = sorted(range(len(scores)), key=lambda row: -scores[row])
        lists.append([(row, scores[row]) for row in order[:k] if scores[row] > 0])
    return lists


@pytest.mark.parametrize("settings", [PAPER, FAIR], ids=["marker", "no marker"])
@pytest.mark.parametrize("k", [1, 20, 700])
def test_of_many_texts_and_titles_bm25s_gives_the_same_lists(settings, k):
    rng = random.Random(k)
    words = [f"w{number}" for number in range(60)] + ["the", "unknown?"]
    titles = [" ".join(rng.choices(words[:50], k=rng.randint(1, 9))) for _ in range(1300)]
    texts = [" ".join(rng.choices(words, k=rng.randint(0, 7))) for _ in range(150)]
    found = BM25.build(catalogue(titles), settings).search(texts, k)
    assert [[hit[1:] for hit in hits] for hits in found] == as_bm25s(titles, texts, settings, k)


few_words = st.lists(st.sampled_from(["red", "kite", "ball", "the", "tea"]), max_size=6)


@given(
    st.lists(few_words.map(lambda words: " ".join(["pot", *words])), min_size=1, max_size=8),
    st.lists(few_words.map(" ".join), min_size=1, max_size=4),
    st.sampled_from([PAPER, FAIR]),
    st.integers(1, 9),
)
def test_of_a_few_words_bm25s_gives_the_same_lists(titles, texts, settings, k):
    found = BM25.build(catalogue(titles), settings).search(texts, k)
    assert [[hit[1:] for hit in hits] for hits in found] == as_bm25s(titles, texts, settings, k)


def test_scores_are_the_formula_of_the_docstring():
    titles, k1, b = ("red kite red", "tea pot", "kite with a long tail"), 1.2, 0.4
    settings = BM25Settings(k1=k1, b=b)
    words = [["red", "kite", "red"], ["tea", "pot"], ["kite", "long", "tail"]]  # no stop words
    mean = (3 + 2 + 3) / 3

    def idf(holding):
        return math.log(1 + (3 - holding + 0.5) / (holding + 0.5))

    def term(count, length):
        return count / (count + k1 * (1 - b + b * length / mean))

    assert [len(each) for each in words] == [3, 2, 3]
    (hits,) = BM25.build(catalogue(titles), settings).search(["kite red kite"], 3)
    expected = {
        0: idf(1) * term(2, 3) + 2 * idf(2) * term(1, 3),
        2: 2 * idf(2) * term(1, 3),
    }
    assert {hit.row: hit.score for hit in hits} == pytest.approx(expected, rel=1e-6)
