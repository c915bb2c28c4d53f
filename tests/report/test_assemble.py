from __future__ import annotations

import numpy as np
import pytest

from gloss.artifacts import Recipe
from gloss.errors import InputError
from gloss.evaluation import evaluate as evaluations
from gloss.evaluation.evaluate import (
    Evaluation,
    EvaluationConfig,
    load_evaluation,
    write_evaluation,
)
from gloss.experiment.run_folder import OURS
from gloss.rankings import files as rankings
from gloss.rankings.files import load_rankings
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.report.assemble import assemble, draw_samples


@pytest.fixture
def saved(tmp_path, run, dataset):
    """Evaluations of the run's users, whose first n are served."""
    users = load_evaluation(run.evaluation(OURS))[1].users

    def save(name: str, hits: int, *, protocol: str = "fair", **config):
        values = {"recall@5": (np.arange(len(users)) < hits).astype(float)}
        path = tmp_path / name
        chosen = {"protocol": protocol, "index": None, **config}
        made = EvaluationConfig.of(load_evaluation(run.evaluation(OURS))[0])
        made = made.model_copy(update=chosen)
        recipe = Recipe(evaluations.KIND, made.to_json(), {"dataset": dataset.fingerprint})
        with recipe.draft(path) as draft:
            write_evaluation(draft, Evaluation(protocol, users, values), segments={})
        return path

    return save


def test_lists_without_a_language_model_are_baselines(saved, dataset):
    report = assemble(
        {
            "GLoSS": saved("a", 30),
            "last-item": saved("b", 9, ranker="last-item", index={"retriever": "bm25"}),
            "Fused": saved("c", 40, rankers=("gloss", "sasrec")),
            "Rankers": saved("d", 20, rankers=("text", "sasrec")),
        },
        dataset,
        title="t",
    )
    assert {row.label: row.kind for row in report.rows} == {
        "GLoSS": "ours",
        "Last-item search + BM25": "baseline",
        "Fused": "ours",
        "Rankers": "baseline",
    }
    assert report.paired_test is not None
    assert (report.paired_test.ours, report.paired_test.baseline) == ("Fused", "Rankers")
    comparison = report.paired_test.comparison
    assert (comparison.better, comparison.worse) == (40 - 20, 0)


def test_histories_are_of_every_measured_row(saved, dataset):
    report = assemble({"A": saved("a", 30)}, dataset, title="t")
    (table,) = report.histories
    assert sum(part.users for part in table.segments.values()) == report.rows[0].users
    served = sum(part.users * part.values["recall@5"] for part in table.segments.values())
    assert served == pytest.approx(30)


@pytest.mark.parametrize(
    ("protocol", "exclude_seen", "note"),
    [
        ("fair", True, ""),
        ("fair", False, "items bought already kept"),
        ("paper", False, ""),
        ("paper", True, "items bought already removed"),
    ],
)
def test_a_row_says_where_bought_items_are_not_as_the_protocol_has_them(
    saved, dataset, protocol, exclude_seen, note
):
    path = saved("a", 30, protocol=protocol, exclude_seen=exclude_seen)
    (row, *_) = assemble({"A": path}, dataset, title="t").rows
    assert row.note == note


def test_protocols_do_not_mix(saved, dataset):
    with pytest.raises(InputError, match="one report needs one protocol, these have fair, paper"):
        assemble({"A": saved("a", 3), "B": saved("b", 4, protocol="paper")}, dataset, title="t")


def test_a_bought_item_is_told_by_its_title(tmp_path, run, dataset, catalogue):
    made, lists = load_rankings(run.ranking(OURS))
    history = {example.user: example.history for example in dataset.examples("test")}
    changed = [
        Ranking(
            each.user,
            tuple(RankedItem(e.item, e.score, None, history[each.user][-1]) for e in each.entries),
        )
        for each in lists
    ]
    with Recipe(rankings.KIND, made.config, made.inputs).draft(tmp_path / "r") as draft:
        rankings.write_rankings(draft, changed)
    for sample in draw_samples(tmp_path / "r", dataset, catalogue):
        assert {each.because for each in sample.recommendations} == {sample.history[-1]}
        assert {each.why for each in sample.recommendations} == {None}
