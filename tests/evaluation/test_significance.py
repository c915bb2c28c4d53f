from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test

from gloss.artifacts import Recipe
from gloss.errors import ArtifactError, ConfigError, InputError
from gloss.evaluation.evaluate import KIND, Evaluation, EvaluationConfig, write_evaluation
from gloss.evaluation.segments import SegmentBounds
from gloss.evaluation.significance import (
    compare,
    compare_folders,
    sign_flip_test,
    users_needed,
)

RESAMPLES = 20_000
WORTH = [0.0, 1.0, 1 / 2, 1 / 3, 1 / 5, 1 / np.log2(3), 1 / np.log2(6)]
"""What places in a list are worth."""

few_differences = st.lists(
    st.tuples(st.sampled_from(WORTH), st.sampled_from(WORTH)), min_size=1, max_size=9
).map(lambda pairs: np.array([a - b for a, b in pairs]))


def enumerated(differences) -> float:
    """The share of all 2^n choices of signs whose absolute sum is at least the one seen."""
    sums = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=len(differences))]
    return float(np.mean(np.array(sums) >= abs(differences.sum()) - 1e-9))


def noise(p: float) -> float:
    """Five standard errors of a share that was estimated from the resamples."""
    return 5 * (p * (1 - p) / RESAMPLES) ** 0.5 + 2 / RESAMPLES


def evaluation(values, metric="recall@5", users=None) -> Evaluation:
    users = users or tuple(f"u{n:04}" for n in range(len(values)))
    return Evaluation("fair", users, {metric: np.array(values, dtype=float)})


@given(few_differences)
@settings(max_examples=60, deadline=None)
def test_drawn_signs_agree_with_all_signs(differences):
    exact = enumerated(differences)
    assert abs(sign_flip_test(differences, resamples=RESAMPLES) - exact) <= noise(exact)


@given(few_differences)
@settings(max_examples=40, deadline=None)
def test_the_sides_may_be_swapped_and_the_users_shuffled(differences):
    p = sign_flip_test(differences, resamples=500)
    assert sign_flip_test(-differences, resamples=500) == p
    assert sign_flip_test(differences[::-1], resamples=500) == p
    assert 0 < p <= 1


def test_hits_alone_give_the_sign_test():
    """With 0 and 1 only, the test is the exact binomial one on the users who differ."""
    differences = np.array([1.0] * 40 + [-1.0] * 22 + [0.0] * 1000)
    exact = binomtest(40, 62).pvalue
    assert abs(sign_flip_test(differences, resamples=RESAMPLES) - exact) <= noise(exact)


def test_differences_that_all_differ_agree_with_scipy():
    differences = np.random.default_rng(5).normal(0.2, 1.0, 150)
    theirs = permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        vectorized=True,
        rng=np.random.default_rng(1),
    ).pvalue
    assert abs(sign_flip_test(differences, resamples=RESAMPLES) - theirs) <= 2 * noise(theirs)


def test_no_difference_is_certain_and_a_p_value_is_never_zero():
    assert sign_flip_test(np.zeros(5), resamples=99) == 1.0
    assert sign_flip_test(np.ones(500), resamples=99) == 1 / 100


def test_what_a_comparison_says():
    told = compare(evaluation([1, 1, 1, 0]), evaluation([0, 1, 0, 1]), "recall@5")
    assert (told.users, told.first, told.second) == (4, 3 / 4, 2 / 4)
    assert told.difference == pytest.approx((1 + 0 + 1 - 1) / 4)
    assert (told.better, told.worse) == (2, 1)
    assert told.low <= told.difference <= told.high


def test_the_paired_interval_has_the_width_that_theory_gives():
    """n = 1000 users, 100 better, 60 worse: variance of a difference (100 + 60) / n - mean^2."""
    mine = [1] * 100 + [0] * 900
    theirs = [0] * 100 + [1] * 60 + [0] * 840
    told = compare(evaluation(mine), evaluation(theirs), "recall@5", resamples=RESAMPLES)
    half = 1.96 * ((0.16 - 0.04**2) / 1000) ** 0.5
    assert told.low == pytest.approx(0.04 - half, abs=0.002)
    assert told.high == pytest.approx(0.04 + half, abs=0.002)


def test_users_are_matched_by_name():
    swapped = compare(
        evaluation([1, 0], users=("a", "b")), evaluation([0, 1], users=("b", "a")), "recall@5"
    )
    assert (swapped.better, swapped.worse) == (0, 0)


def test_other_users_and_unknown_metrics_are_errors():
    with pytest.raises(InputError, match=r"2 in one of the two only \(a, say\)"):
        compare(evaluation([1], users=("a",)), evaluation([1], users=("b",)), "recall@5")
    with pytest.raises(ConfigError, match="no metric 'map', measured were recall@5"):
        compare(evaluation([1]), evaluation([1]), "map")
    with pytest.raises(ConfigError, match="resamples must be"):
        compare(evaluation([1]), evaluation([1]), "recall@5", resamples=0)


def saved(path, *, dataset="d", split="test"):
    config = EvaluationConfig(
        protocol="fair",
        split=split,
        cutoffs=(5,),
        bounds=SegmentBounds(),
        length=5,
        ranker=None,
        rankers=None,
        index=None,
        exclude_seen=True,
    )
    with Recipe(KIND, config.to_json(), {"dataset": dataset}).draft(path) as draft:
        write_evaluation(draft, evaluation([1, 0]), segments={})
    return path


def test_folders_of_other_data_or_another_split_do_not_compare(tmp_path):
    here = saved(tmp_path / "here")
    (same,) = compare_folders(here, saved(tmp_path / "same"), ["recall@5"])
    assert (same.difference, same.p_value) == (0.0, 1.0)
    with pytest.raises(ArtifactError, match="made from another dataset"):
        compare_folders(here, saved(tmp_path / "data", dataset="e"), ["recall@5"])
    with pytest.raises(InputError, match="they are not the same quantity"):
        compare_folders(here, saved(tmp_path / "split", split="validation"), ["recall@5"])


def test_four_times_as_many_users_see_half_the_difference():
    wins, losses = [1.0] * 30, [-1.0] * 20
    once = users_needed(np.array([*wins, *losses, *[0.0] * 50]))
    rarer = users_needed(np.array([*wins, *losses, *[0.0] * 150]))
    weaker = users_needed(np.array([1.0] * 55 + [-1.0] * 45 + [0.0] * 100))
    assert once == int(np.ceil((1.960 + 0.842) ** 2 * 0.5 / 0.1**2))
    assert rarer == pytest.approx(2 * once, abs=1)
    assert weaker == pytest.approx(4 * once, abs=4)
    assert users_needed(np.zeros(9)) is None


def test_with_as_many_users_as_needed_four_of_five_samples_show_it():
    """Of users who gain with 0.12 and lose with 0.06, by the test itself."""
    shares = [0.06, 0.82, 0.12]
    needed = users_needed(np.array([-1.0] * 6 + [0.0] * 82 + [1.0] * 12))
    rng = np.random.default_rng(0)
    draws = rng.choice([-1.0, 0.0, 1.0], size=(400, needed), p=shares)
    shown = [sign_flip_test(each, resamples=2000) <= 0.05 for each in draws]
    assert 0.7 <= np.mean(shown) <= 0.85  # signs are counted in whole users: a little less than 0.8


def test_a_verdict_needs_the_test_and_the_interval():
    both = compare(evaluation([1.0] * 40 + [0.0] * 60), evaluation([0.0] * 100), "recall@5")
    assert both.verdict == "better"
    assert compare(evaluation([0.0] * 100), evaluation([1.0] * 100), "recall@5").verdict == "worse"
    few = compare(evaluation([1.0, 1.0, 1.0]), evaluation([0.0, 0.0, 0.0]), "recall@5")
    assert (few.low, few.verdict) == (1.0, "level")  # p is 2 / 2³
