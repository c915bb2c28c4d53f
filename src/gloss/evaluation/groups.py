"""Whether two groups of users differ by more than chance, in a value that each user has.

`significance.py` compares evaluations of the same users; here each user was given one of two
recommenders, as an experiment does. A value that counts takes few distinct values, so a resample
draws counts of these, not users.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gloss.errors import InputError
from gloss.evaluation.metrics import Floats
from gloss.evaluation.significance import sign_flip_test

__all__ = ["GroupComparison", "compare_groups", "compare_pairs", "permutation_test"]

_ROUNDING = 1e-9
"""Differences that lie closer than this are equal: that is rounding."""


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """How one metric differs between two groups of users.

    users: in each group; first, second: the means. difference: first - second, with its 95 %
    interval from low to high. p_value: of no difference, two-sided.
    """

    metric: str
    users: tuple[int, int]
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float


def compare_groups(
    metric: str, first: Floats, second: Floats, *, resamples: int = 10_000, seed: int = 0
) -> GroupComparison:
    """Two groups by their users' values, float64 (users,) each.

    The interval is that of a bootstrap which draws users within each group. Raises InputError for
    an empty group.
    """
    if not len(first) or not len(second):
        raise InputError(f"{metric}: nobody is in one of the two groups")
    rng = np.random.default_rng(seed)
    drawn = _drawn_means(first, resamples, rng) - _drawn_means(second, resamples, rng)
    low, high = np.quantile(drawn, (0.025, 0.975))
    means = float(first.mean()), float(second.mean())
    return GroupComparison(
        metric=metric,
        users=(len(first), len(second)),
        first=means[0],
        second=means[1],
        difference=means[0] - means[1],
        low=float(low),
        high=float(high),
        p_value=permutation_test(first, second, resamples=resamples, seed=seed),
    )


def compare_pairs(
    metric: str, first: Floats, second: Floats, *, resamples: int = 10_000, seed: int = 0
) -> GroupComparison:
    """The same users with two values each, float64 (users,): a paired bootstrap, and a test whose
    draws flip the signs of the users' differences. Raises InputError where there is nobody."""
    if not len(first):
        raise InputError(f"{metric}: nobody has both values")
    differences = first - second
    drawn = _drawn_means(differences, resamples, np.random.default_rng(seed))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return GroupComparison(
        metric=metric,
        users=(len(first), len(second)),
        first=float(first.mean()),
        second=float(second.mean()),
        difference=float(differences.mean()),
        low=float(low),
        high=float(high),
        p_value=sign_flip_test(differences, resamples=resamples, seed=seed),
    )


def permutation_test(
    first: Floats, second: Floats, *, resamples: int = 10_000, seed: int = 0
) -> float:
    """The p-value of a permutation test of two means, two-sided.

    If the groups were the same, any n of all users could be the first group. Such groups are drawn
    `resamples` times, and d is the difference of the means:

        p = (1 + #{draws with |d| ≥ |d observed|}) / (1 + resamples)

    which is never 0 and never too small (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 2010).

    >>> permutation_test(np.ones(3), np.ones(4), resamples=99)
    1.0
    """
    everybody = np.concatenate([first, second])
    values, counts = np.unique(everybody, return_counts=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multivariate_hypergeometric(
        counts, len(first), size=resamples, method="marginals"
    )  # (resamples, values)
    sums = drawn @ values  # of the first group
    differences = sums / len(first) - (everybody.sum() - sums) / len(second)
    observed = abs(float(first.mean() - second.mean())) - _ROUNDING
    return float(1 + (np.abs(differences) >= observed).sum()) / (1 + resamples)


def _drawn_means(values: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """float64 (resamples,): means of as many users, drawn with replacement."""
    distinct, counts = np.unique(values, return_counts=True)
    drawn = rng.multinomial(len(values), counts / len(values), size=resamples)
    means: Floats = drawn @ distinct / len(values)
    return means
