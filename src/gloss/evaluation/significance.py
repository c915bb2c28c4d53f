"""Whether two evaluations of the same users differ by more than chance.

Both tests look at the users' differences d = first - second. A metric with one relevant item takes
few distinct values, so the differences are counted once, and a resample draws counts, not users:
binomial ones for the signs, multinomial ones for the bootstrap. 22,363 users and 10,000 resamples
take tenths of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Literal

import numpy as np

from gloss.artifacts import Artifact
from gloss.errors import ConfigError, InputError
from gloss.evaluation.evaluate import Evaluation, EvaluationConfig, load_evaluation
from gloss.evaluation.metrics import Floats

__all__ = ["Comparison", "Verdict", "compare", "compare_folders", "sign_flip_test", "users_needed"]

Verdict = Literal["better", "worse", "level"]
"""What a comparison says of the first one; level: chance alone could make such a difference."""

_BATCH_VALUES = 64
"""Distinct differences whose signs are drawn together: bounds memory (resamples x 64 counts)."""

_ROUNDING = 1e-9
"""Sums that differ by less than this share of the total are equal: that is rounding."""

_LEVEL = 0.05

_TWO_SIDED, _POWER = 1.960, 0.842
"""Quantiles of the normal distribution at 1 - 0.05 / 2, and at 0.8."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How one metric of the same users differs between two evaluations.

    difference: first - second, with its 95 % interval from low to high. p_value: of no difference,
    two-sided. better, worse: the users whose lists are better, worse in the first. needed: see
    `users_needed`.
    """

    metric: str
    users: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    better: int
    worse: int
    needed: int | None

    @property
    def verdict(self) -> Verdict:
        """Better or worse only if p is at most 0.05 and the interval excludes 0."""
        if self.p_value > _LEVEL or self.low <= 0 <= self.high:
            return "level"
        return "better" if self.difference > 0 else "worse"


def compare(
    first: Evaluation, second: Evaluation, metric: str, *, resamples: int = 10_000, seed: int = 0
) -> Comparison:
    """Two evaluations of the same users, by one metric that both have.

    The interval is that of a paired bootstrap: users are drawn, each with both of their values.
    Raises InputError where the users differ, ConfigError where one lacks the metric.
    """
    if resamples < 1:
        raise ConfigError(f"resamples must be a whole number from 1, not {resamples}")
    mine, theirs = _values(first, metric), _values(_in_order_of(first, second), metric)
    differences = mine - theirs
    paired = replace(first, values={metric: differences})
    low, high = paired.interval(metric, resamples=resamples, seed=seed)
    return Comparison(
        metric=metric,
        users=len(first.users),
        first=float(mine.mean()),
        second=float(theirs.mean()),
        difference=float(differences.mean()),
        low=low,
        high=high,
        p_value=sign_flip_test(differences, resamples=resamples, seed=seed),
        better=int((differences > 0).sum()),
        worse=int((differences < 0).sum()),
        needed=users_needed(differences),
    )


def compare_folders(
    first: Path, second: Path, metrics: Sequence[str], *, resamples: int = 10_000, seed: int = 0
) -> tuple[Comparison, ...]:
    """The same for two folders that `gloss evaluate` made, metric by metric.

    Raises InputError also where the folders are of different data sets, splits or protocols.
    """
    made, mine = load_evaluation(first)
    other, theirs = load_evaluation(second)
    _require_same_examples(made, other)
    return tuple(compare(mine, theirs, m, resamples=resamples, seed=seed) for m in metrics)


def sign_flip_test(differences: Floats, *, resamples: int = 10_000, seed: int = 0) -> float:
    """The p-value of a paired randomisation test, two-sided.

    differences: float64 (users,). If the two systems were the same, each user's difference could as
    well have the other sign. Signs s are drawn `resamples` times:

        p = (1 + #{draws with |Σ_u s_u d_u| ≥ |Σ_u d_u|}) / (1 + resamples)

    which is never 0 and never too small (Smucker, Allan and Carterette, CIKM 2007; Phipson and
    Smyth, Stat. Appl. Genet. Mol. Biol. 2010). Without a difference p is 1.

    >>> sign_flip_test(np.array([0.0, 0.0]), resamples=99)
    1.0
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    rng = np.random.default_rng(seed)
    sums = np.zeros(resamples)
    for start in range(0, len(sizes), _BATCH_VALUES):
        part = slice(start, start + _BATCH_VALUES)
        # Of n equal differences, the signs that turn positive are binomial (n, 1/2).
        positive = rng.binomial(counts[part], 0.5, size=(resamples, len(counts[part])))
        sums += (2 * positive - counts[part]) @ sizes[part]
    observed = abs(float(differences.sum())) - _ROUNDING * float(sizes @ counts)
    return float(1 + (np.abs(sums) >= observed).sum()) / (1 + resamples)


def users_needed(differences: Floats) -> int | None:
    """How many users it takes to see a mean difference of this size, if it is real: with a
    two-sided test at 5 %, in four of five samples. None without any difference.

    differences: float64 (users,), d. By the normal approximation of `sign_flip_test`,

        n = (z(0.975) + z(0.8))² · mean(d²) / mean(d)²

    >>> users_needed(np.array([1.0] * 6 + [-1.0] * 2 + [0.0] * 92))  # 7.85 · 0.08 / 0.04²
    393
    """
    mean, square = float(differences.mean()), float((differences**2).mean())
    if abs(mean) <= _ROUNDING:
        return None
    return ceil((_TWO_SIDED + _POWER) ** 2 * square / mean**2)


def _values(evaluation: Evaluation, metric: str) -> Floats:
    if metric not in evaluation.values:
        raise ConfigError(f"no metric {metric!r}, measured were {', '.join(evaluation.values)}")
    return evaluation.values[metric]


def _in_order_of(first: Evaluation, second: Evaluation) -> Evaluation:
    """The second evaluation with its users in the order of the first."""
    if first.users == second.users:
        return second
    odd = set(first.users) ^ set(second.users)
    if odd:
        raise InputError(
            f"not the same users were evaluated: {len(first.users):,} in A, {len(second.users):,} "
            f"in B, and {len(odd):,} in one of the two only ({min(odd)}, say). Rank and evaluate "
            "both for the same users, without --limit-users or with the same"
        )
    row = {user: number for number, user in enumerate(second.users)}
    order = [row[user] for user in first.users]
    values = {metric: values[order] for metric, values in second.values.items()}
    return Evaluation(second.protocol, first.users, values)


def _require_same_examples(first: Artifact, second: Artifact) -> None:
    second.require_input("dataset", first.inputs["dataset"], f"{first.path}")
    mine, theirs = (EvaluationConfig.of(each) for each in (first, second))
    for what, of_first, of_second, cure in (
        ("split", mine.split, theirs.split, "rank both with the same --split, and evaluate them"),
        ("protocol", mine.protocol, theirs.protocol, "evaluate both with the same --protocol"),
    ):
        if of_first != of_second:
            raise InputError(
                f"{first.path} is of the {what} {of_first!r}, {second.path} of the {what} "
                f"{of_second!r}: they are not the same quantity. To compare them, {cure}"
            )
