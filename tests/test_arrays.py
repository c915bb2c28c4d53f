import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gloss.arrays import (
    owners_of,
    ranks_of,
    reduced_by_list,
    slices_of,
    starts_of,
    top_rows,
)
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


lists = st.lists(st.lists(st.integers(-9, 9), max_size=4), max_size=6)


@given(lists)
def test_ragged_arrays_say_what_a_loop_over_the_lists_says(values):
    lengths = np.array([len(each) for each in values], dtype=np.int64)
    pairs = [(owner, rank) for owner, each in enumerate(values) for rank in range(len(each))]
    assert [*zip(owners_of(lengths).tolist(), ranks_of(lengths).tolist(), strict=True)] == pairs
    begun = [sum(map(len, values[:number])) for number in range(len(values))]
    assert starts_of(lengths).tolist() == begun
    assert slices_of(starts_of(lengths), lengths).tolist() == [*range(lengths.sum())]


@given(lists)
def test_lists_are_reduced_one_by_one(values):
    lengths = np.array([len(each) for each in values], dtype=np.int64)
    flat = np.array([value for each in values for value in each], dtype=np.int64)
    sums = [sum(each) for each in values]
    assert reduced_by_list(np.add, flat, lengths).tolist() == sums
    highest = [max(each, default=-100) for each in values]
    assert reduced_by_list(np.maximum, flat, lengths, empty=-100).tolist() == highest


def test_each_column_of_a_ragged_table_is_reduced_on_its_own():
    table = np.array([[1, 8], [3, 2], [5, 5]])
    reduced = reduced_by_list(np.maximum, table, np.array([2, 0, 1]))
    assert reduced.tolist() == [[3, 8], [0, 0], [5, 5]]


def test_slices_are_read_in_any_order_and_may_be_empty():
    begins, lengths = np.array([4, 1, 0]), np.array([1, 2, 0])
    assert slices_of(begins, lengths).tolist() == [4, 1, 2]
