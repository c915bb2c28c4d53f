"""Two groups of users: means, intervals and p-values against counting and against SciPy."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from gloss.errors import InputError
from gloss.evaluation.groups import compare_groups, compare_pairs, permutation_test


def test_the_p_value_is_that_of_all_divisions_of_the_users():
    first, second = np.array([1.0, 1.0, 0.5, 1.0]), np.array([0.0, 0.0, 0.5, 1.0, 0.0])
    everybody = np.concatenate([first, second])
    observed = abs(first.mean() - second.mean())
    differences = []
    for chosen in combinations(range(9), 4):
        rest = [row for row in range(9) if row not in chosen]
        differences.append(abs(everybody[list(chosen)].mean() - everybody[rest].mean()))
    exact = np.mean(np.array(differences) >= observed - 1e-9)
    assert permutation_test(first, second, resamples=40_000) == pytest.approx(exact, abs=0.01)


def test_rates_have_the_interval_of_two_proportions():
    """p (1 - p) / n of both groups, by the normal approximation."""
    first, second = np.repeat([1.0, 0.0], [300, 700]), np.repeat([1.0, 0.0], [200, 600])
    found = compare_groups("conversion", first, second)
    half = 1.96 * (0.3 * 0.7 / 1000 + 0.25 * 0.75 / 800) ** 0.5
    assert (found.users, found.first, found.second) == ((1000, 800), 0.3, 0.25)
    assert found.difference == pytest.approx(0.05)
    assert (found.low, found.high) == pytest.approx((0.05 - half, 0.05 + half), abs=0.003)
    stats = pytest.importorskip("scipy.stats")
    table = [[300, 700], [200, 600]]
    assert found.p_value == pytest.approx(stats.chi2_contingency(table).pvalue, abs=0.015)


def test_pairs_are_held_against_each_other():
    first, second = np.array([1.0, 1.0, 0.0, 1.0]), np.array([0.0, 0.0, 0.0, 0.0])
    found = compare_pairs("hits@10", first, second)
    assert (found.first, found.second, found.difference) == (0.75, 0.0, 0.75)
    assert found.p_value == pytest.approx(2 / 2**3, abs=0.02)  # all of three signs agree
    assert 0 <= found.low <= 0.75 <= found.high == 1.0


def test_a_group_without_users_cannot_be_compared():
    with pytest.raises(InputError, match="hits@5: nobody is in one of the two groups"):
        compare_groups("hits@5", np.array([1.0]), np.array([]))
    with pytest.raises(InputError, match="hits@5: nobody has both values"):
        compare_pairs("hits@5", np.array([]), np.array([]))
