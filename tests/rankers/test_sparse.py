"""Scores of a few items: sums, whichever way they are made."""

from __future__ import annotations

import numpy as np
import pytest

from gloss.rankers.sparse import SparseScores


@pytest.mark.parametrize("size", [10, 10_000_000])
def test_terms_of_a_row_are_added_whatever_the_size_of_the_catalogue(size):
    rows = np.array([7, 2, 7, 9, 2, 7], np.int32)
    found = SparseScores.summed(rows, np.array([1, 2, 4, 0.5, -2, 8]), size=size)
    assert dict(zip(found.rows.tolist(), found.scores.tolist(), strict=True)) == {
        7: 1 + 4 + 8,
        9: 0.5,
    }


def test_a_weighted_sum_has_the_rows_of_all_its_parts():
    one = SparseScores(np.array([1, 4], np.int32), np.array([2, 3], np.float32))
    other = SparseScores(np.array([0, 4], np.int32), np.array([5, 7], np.float32))
    found = SparseScores.weighted_sum([one, other], [0.5, 2.0], size=6)
    assert found.rows.tolist() == [0, 1, 4]
    assert found.scores.tolist() == [2 * 5, 0.5 * 2, 0.5 * 3 + 2 * 7]


def test_nothing_has_a_sum_without_rows():
    found = SparseScores.weighted_sum([], [], size=6)
    assert found.rows.tolist() == []
    assert found.at(np.array([3])).tolist() == [0.0]


def test_rows_that_are_left_out_need_not_be_there():
    found = SparseScores(np.array([1, 4, 5], np.int32), np.array([2, 3, 6], np.float32))
    assert found.without(np.array([4, 0, 9])).rows.tolist() == [1, 5]
