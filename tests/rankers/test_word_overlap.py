"""Common words of titles."""

from __future__ import annotations

import math

import numpy as np
import pytest

from contracts import catalogue_of
from gloss.config import Transitions
from gloss.data.histories import Example
from gloss.rankers.word_overlap import common_words, weigh_words

CATALOGUE = catalogue_of(("Red kite", "red Ball, red", "blue kite", "green soap", "!"))
ASKED = Transitions(recent=2, decay=0.5)


def asked(*history: str, length: int = 9, exclude_seen: bool = True):
    (ranking,) = common_words(
        weigh_words(CATALOGUE),
        [Example("u", history, "b0")],
        CATALOGUE,
        settings=ASKED,
        length=length,
        exclude_seen=exclude_seen,
    )
    return ranking


def rarity(holding: int) -> float:
    return math.log(1 + (5 - holding + 0.5) / (holding + 0.5))


def test_a_cosine_is_that_of_bags_of_words_with_rare_ones_counting_more():
    words = weigh_words(CATALOGUE)
    red_kite, red_ball = math.hypot(rarity(2), rarity(2)), math.hypot(rarity(2), rarity(1))
    found = words.cosines(0)
    assert found[0] == pytest.approx(1)
    assert found[1] == pytest.approx(rarity(2) ** 2 / (red_kite * red_ball))
    assert found[3:].tolist() == [0, 0]
    table = np.stack([words.cosines(row) for row in range(len(CATALOGUE))])
    assert table == pytest.approx(table.T)


def test_the_last_purchase_counts_most_and_says_why():
    words = weigh_words(CATALOGUE)
    ranking = asked("b1", "b2")
    assert [(each.item, each.because) for each in ranking.entries] == [("b0", "b2")]
    expected = (0.5 * words.cosines(1)[0] + words.cosines(2)[0]) / 1.5
    assert ranking.entries[0].score == pytest.approx(expected)


def test_what_shares_no_word_is_left_out():
    assert {each.item for each in asked("b0", exclude_seen=False).entries} == {"b0", "b1", "b2"}
    assert asked("b3").entries == ()
    assert asked("b4").entries == ()
    assert asked().entries == ()
    assert len(asked("b0", length=1).entries) == 1
