import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gloss.arrays import top_rows
from gloss.errors import ConfigError


def test_the_highest_score_comes_first():
    assert top_rows(np.array([1.0, 3.0, 2.0]), 3).tolist() == [1, 2, 0]


def test_equal_scores_stand_in_row_order_also_where_the_list_is_cut():
    assert top_rows(np.array([2.0, 5.0, 2.0, 2.0]), 2).tolist() == [1, 0]


def test_rows_that_score_nothing_are_not_found():
    assert top_rows(np.array([0.0, 1.0, -1.0, np.nan]), 4).tolist() == [1]
    assert top_rows(np.zeros(3), 2).tolist() == []


def test_asking_for_no_rows_is_an_error():
    with pytest.raises(ConfigError, match="at least 1, not 0"):
        top_rows(np.ones(3), 0)


@given(
    arrays(np.float32, st.integers(1, 40), elements=st.sampled_from([0, 0.5, 1, 2, 3])),
    st.integers(1, 50),
)
def test_it_is_the_beginning_of_the_whole_order(scores, k):
    whole = sorted((row for row in range(len(scores)) if scores[row] > 0), key=lambda r: -scores[r])
    assert top_rows(scores, k).tolist() == whole[:k]


@pytest.mark.parametrize("k", [1, 7, 100, 4999])
@pytest.mark.parametrize("kinds", [3, 50, 10**9])
def test_of_many_rows_it_is_the_beginning_too(k, kinds):
    scores = np.random.default_rng(k).integers(0, kinds, 5000).astype(np.float64)
    whole = sorted(np.flatnonzero(scores > 0).tolist(), key=lambda row: -scores[row])
    assert top_rows(scores, k).tolist() == whole[:k]
