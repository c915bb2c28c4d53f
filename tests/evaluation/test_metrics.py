import math
import warnings

import numba
import numpy as np
import pytest

from gloss.errors import ConfigError
from gloss.evaluation.metrics import all_metrics, mrr, ndcg, recall, target_ranks
from gloss.rankings.ranking import RankedItem, Ranking


def ranking(user: str, items: str) -> Ranking:
    return Ranking(user, tuple(RankedItem(item, 0.0, None) for item in items))


def test_the_rank_is_the_place_in_the_list_and_zero_where_it_is_absent():
    lists = [ranking("u", "abc"), ranking("v", "abc"), ranking("w", "")]
    assert target_ranks(lists, ["c", "z", "a"]).tolist() == [3, 0, 0]
    assert target_ranks([ranking("u", "abab")], ["b"]).tolist() == [2]


def test_ranks_of_many_users_are_those_of_a_search_through_each_list():
    rng = np.random.default_rng(0)
    lists = [ranking("u", "".join(rng.permutation([*"abcdefgh"])[: n % 9])) for n in range(50)]
    targets = rng.choice([*"abcdefghz"], 50).tolist()
    found = [[entry.item for entry in each.entries] for each in lists]
    assert target_ranks(lists, targets).tolist() == [
        items.index(target) + 1 if target in items else 0
        for items, target in zip(found, targets, strict=True)
    ]
    with pytest.raises(ValueError, match="50 rankings, 49 targets"):
        target_ranks(lists, targets[1:])


def test_recall_is_one_up_to_the_cutoff_and_nothing_after():
    assert recall(np.array([1, 5, 6, 0]), 5).tolist() == [1, 1, 0, 0]


def test_ndcg_is_discounted_by_the_logarithm_of_the_place():
    expected = [1, 1 / math.log2(3), 1 / 2, 0, 0]
    assert ndcg(np.array([1, 2, 3, 4, 0]), 3).tolist() == pytest.approx(expected)


def test_second_relevant_gives_one_half():
    assert mrr(np.array([1, 2, 0])).tolist() == [1, 1 / 2, 0]


def test_mrr_without_a_cutoff_sees_the_whole_list():
    assert mrr(np.array([20])).tolist() == [1 / 20]
    assert mrr(np.array([20]), 10).tolist() == [0]


def test_no_users_are_worth_nothing_and_are_no_error():
    none = target_ranks([], [])
    assert [recall(none, 5).size, ndcg(none, 5).size, mrr(none).size] == [0, 0, 0]


def test_columns_are_named_by_metric_and_cutoff():
    assert list(all_metrics(np.array([1]), (1, 5))) == [
        *("recall@1", "ndcg@1", "mrr@1"),
        *("recall@5", "ndcg@5", "mrr@5"),
        "mrr",
    ]


@pytest.mark.parametrize("cutoffs", [(), (0,), (5, -1)])
def test_impossible_cutoffs_are_an_error(cutoffs):
    with pytest.raises(ConfigError, match="cutoffs must be whole numbers from 1"):
        all_metrics(np.array([1]), cutoffs)


def test_ranx_finds_the_same_figures(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)  # compiling ranx takes half a minute
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ranx warns at import
        from ranx import Qrels, Run
        from ranx import evaluate as ranx_evaluate

        rng = np.random.default_rng(7)
        lists = ["".join(rng.permutation(list("abcdefgh"))[:6]) for _ in range(40)]
        targets = rng.choice(list("abcdefgh"), 40).tolist()
        users = [f"u{n:02}" for n in range(40)]
        run = {u: {c: 9.0 - n for n, c in enumerate(s)} for u, s in zip(users, lists, strict=True)}
        qrels = {user: {target: 1} for user, target in zip(users, targets, strict=True)}
        names = ["recall@3", "ndcg@3", "mrr@3", "mrr"]
        expected = ranx_evaluate(Qrels(qrels), Run(run), names)
    ours = all_metrics(target_ranks([ranking(*each) for each in run.items()], targets), (3,))
    assert {name: ours[name].mean() for name in names} == pytest.approx(expected)
