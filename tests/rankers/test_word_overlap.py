"""Word overlap: cosines of titles as bags of words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gloss.data.histories import History
from gloss.rankers.ranker import RankRequest
from gloss.rankers.word_overlap import TitleWords, WordOverlap, WordOverlapSettings
from gloss.testing.catalogues import catalogue_of

CATALOGUE = catalogue_of(("Red kite", "red Ball, red", "blue kite", "green soap", "!"))
SETTINGS = WordOverlapSettings(recent=2, decay=0.5)


def ranked(*history: str, length: int = 9, exclude_seen: bool = True):
    ranker = WordOverlap(CATALOGUE, SETTINGS)
    (ranking,) = ranker.rank(RankRequest([History("u", history)], length, exclude_seen))
    return ranking


def rarity(holding: int) -> float:
    return math.log(1 + (5 - holding + 0.5) / (holding + 0.5))


def test_a_cosine_is_that_of_bags_of_words_with_rare_ones_counting_more():
    words = TitleWords.of(CATALOGUE)
    red_kite, red_ball = math.hypot(rarity(2), rarity(2)), math.hypot(rarity(2), rarity(1))
    found = words.cosines(0)
    assert found[0] == pytest.approx(1)
    assert found[1] == pytest.approx(rarity(2) ** 2 / (red_kite * red_ball))
    assert found[3:].tolist() == [0, 0]
    table = np.stack([words.cosines(row) for row in range(len(CATALOGUE))])
    assert table == pytest.approx(table.T)


def test_the_last_purchase_counts_most_and_says_why():
    words = TitleWords.of(CATALOGUE)
    ranking = ranked("b1", "b2")
    assert [(each.item, each.because) for each in ranking.entries] == [("b0", "b2")]
    expected = (0.5 * words.cosines(1)[0] + words.cosines(2)[0]) / 1.5
    assert ranking.entries[0].score == pytest.approx(expected)


def test_what_shares_no_word_is_left_out():
    assert {each.item for each in ranked("b0", exclude_seen=False).entries} == {"b0", "b1", "b2"}
    assert ranked("b3").entries == ()
    assert ranked("b4").entries == ()
    assert ranked().entries == ()
    assert len(ranked("b0", length=1).entries) == 1


@pytest.mark.parametrize(
    ("titles", "alike"),
    [
        (("लाल पतंग", "नीली पतंग", "लीला"), (0, 1)),  # "kite" in both; the third has its letters
        (("红色风筝", "蓝色风筝", "肥皂"), (0, 1)),
        (("Été rouge", "été bleu", "soap"), (0, 1)),
    ],
)
def test_words_of_any_script_are_words(titles, alike):
    cosines = TitleWords.of(catalogue_of(titles)).cosines(alike[0])
    assert [row for row in (1, 2) if cosines[row] > 0] == [alike[1]]


def test_variants_of_one_title_stand_by_sales_and_then_by_row():
    catalogue = catalogue_of(("Red kite", "Blue kite", "Blue kite", "Blue kite"))
    ranker = WordOverlap(catalogue, SETTINGS, np.array([9, 1, 4, 4]))
    (ranking,) = ranker.rank(RankRequest([History("u", ("b0",))], 9, exclude_seen=True))
    assert [each.item for each in ranking.entries] == ["b2", "b3", "b1"]
