from __future__ import annotations

import pytest

from gloss.errors import ConfigError
from gloss.retrieval.hybrid import Hybrid
from gloss.retrieval.retriever import Hit


class Fixed:
    """Finds the same for every text."""

    def __init__(self, *scores: tuple[int, float]) -> None:
        self.hits = tuple(Hit(f"b{row}", row, score) for row, score in scores)

    def search(self, texts, k):
        return [self.hits[:k]] * len(texts)


LEXICAL = Fixed((4, 8.0), (1, 6.0), (2, 6.0))
DENSE = Fixed((1, 0.9), (3, 0.5))


def scores(hybrid: Hybrid, k: int = 10) -> dict[int, float]:
    (hits,) = hybrid.search(["kite"], k)
    return {hit.row: hit.score for hit in hits}


def test_reciprocal_ranks_are_added_and_equal_scores_share_one():
    found = scores(Hybrid(LEXICAL, DENSE))
    assert found == {
        1: pytest.approx(0.5 / 62 + 0.5 / 61),
        4: pytest.approx(0.5 / 61),
        2: pytest.approx(0.5 / 62),
        3: pytest.approx(0.5 / 62),
    }
    assert [*found] == [1, 4, 2, 3]


def test_weighted_scores_are_shares_of_the_best_above_the_least_possible():
    found = scores(Hybrid(LEXICAL, DENSE, fusion="weighted", weight=0.25))
    assert found == {
        1: pytest.approx(0.75 * 6 / 8 + 0.25 * 1.9 / 1.9),
        4: pytest.approx(0.75 * 8 / 8),
        2: pytest.approx(0.75 * 6 / 8),
        3: pytest.approx(0.25 * 1.5 / 1.9),
    }
    assert [*found] == [1, 4, 2, 3]


@pytest.mark.parametrize(("weight", "rows"), [(0.0, [4, 1, 2]), (1.0, [1, 3])])
def test_a_weight_of_nothing_leaves_one_retriever_out(weight, rows):
    assert [*scores(Hybrid(LEXICAL, DENSE, weight=weight))] == rows


def test_what_one_does_not_find_the_other_may():
    assert [*scores(Hybrid(Fixed(), DENSE))] == [1, 3]
    assert [*scores(Hybrid(LEXICAL, Fixed()))] == [4, 1, 2]
    assert scores(Hybrid(Fixed(), Fixed())) == {}


def test_impossible_settings_are_named():
    with pytest.raises(
        ConfigError, match=r"unknown fusion 'sum' \(known: reciprocal-rank, weighted\)"
    ):
        Hybrid(LEXICAL, DENSE, fusion="sum")
    with pytest.raises(ConfigError, match=r"from 0 to 1, not 1\.5"):
        Hybrid(LEXICAL, DENSE, weight=1.5)
