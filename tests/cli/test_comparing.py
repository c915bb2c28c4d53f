from __future__ import annotations

import json
from pathlib import Path

import pytest

from gloss.evaluation.evaluate import load_evaluation
from gloss.experiment.run_folder import OURS
from gloss.rankings.files import load_rankings
from preparing import csv_items, csv_log, purchases, write

LATER = 1_500_100_000
BUNDLE = """
name: {0}
data: {{source: table, interactions: [log.csv], items: [items.csv]}}
rankers: {{use: [{0}]}}
"""


def test_a_run_is_compared_with_a_baseline_on_the_same_users(done, run):
    popular = run.evaluation("popularity")
    said = done("compare", run.path, popular, "--metric", "ndcg@5", "--metric", "mrr", "--json")
    told = {each["metric"]: each for each in json.loads(said.out)}
    ours, theirs = (load_evaluation(path)[1] for path in (run.evaluation(OURS), popular))
    assert told.keys() == {"ndcg@5", "mrr"}
    for metric, each in told.items():
        difference = ours.means()[metric] - theirs.means()[metric]
        assert each["difference"] == pytest.approx(difference)
        assert each["low"] <= difference <= each["high"]
        assert each["users"] == len(ours.users)


def test_a_run_does_not_differ_from_itself(done, run):
    said = done("compare", run.path, run.evaluation(OURS))
    assert "recall@5" in said.out
    assert "+0.0000" in said.out
    assert "1.0000" in said.out
    assert "recall@5: A and B cannot be told apart with" in said.out


def test_two_bundles_are_compared_on_what_was_bought_since(done, gloss, tmp_path):
    write(tmp_path / "log.csv", csv_log(purchases(8, 4)))
    write(tmp_path / "items.csv", csv_items())
    write(tmp_path / "later.csv", csv_log([(f"u{n}", f"i{n}", LATER + n) for n in range(6)]))
    for name in ("popularity", "transitions"):
        write(tmp_path / f"{name}.yaml", BUNDLE.format(name))
        done("fit", f"{name}.yaml", "--no-model", "-o", name)
    call = ("compare", "transitions", "popularity")
    later = ("--interactions", "later.csv", "-d", "transitions-parts/data")
    said = done(*call, *later).out
    assert "6 users, by their last purchase, newer than 2017-07-14" in said
    assert "recall@5: A and B cannot be told apart with 6 users" in said
    found = json.loads(done(*call, *later, "--metric", "mrr", "--json").out)
    assert (found["users"], found["unknown"]) == (6, [0, 0])
    assert found["comparisons"][0]["verdict"] == "level"
    whole = ("--interactions", "log.csv", "--interactions", "later.csv", "--metric", "mrr")
    assert json.loads(done(*call, *whole, "--json").out) == found
    assert "purchases that are newer than both: name" in gloss(*call).error
    assert "begins after the newest" in gloss(*call, "--interactions", "later.csv").error
    assert "no purchase is newer" in gloss(*call, "--interactions", "log.csv").error


def test_a_bundle_is_not_compared_with_a_run(gloss, run, bundled):
    assert "is a bundle, and the other one is none" in gloss("compare", bundled, run.path).error


def test_evaluations_have_their_users(gloss, run):
    failed = gloss("compare", run.path, run.path, "--users", 5)
    assert "--users means nothing to evaluations" in failed.error


def test_a_limited_evaluation_is_not_compared_with_a_whole_one(gloss, done, run):
    done("baseline", "popularity", "-d", run.data, "--limit-users", 5, "-o", "few")
    done("evaluate", "-r", "few", "-d", run.data, "-o", "few-evaluation")
    failed = gloss("compare", run.path, "few-evaluation")
    assert failed.code == 1
    assert "not the same users were evaluated" in failed.error
    assert "with the same" in failed.error


def test_evaluations_of_two_protocols_are_not_compared(gloss, done, run):
    ranked = ("-r", run.ranking(OURS), "-d", run.data)
    done("evaluate", *ranked, "--protocol", "paper", "-o", "paper")
    failed = gloss("compare", run.path, "paper")
    assert "is of the protocol 'fair'" in failed.error
    assert "of the protocol 'paper'" in failed.error
    assert "evaluate both with the same --protocol" in failed.error


def test_evaluations_of_two_splits_are_not_compared(gloss, done, run):
    for split in ("test", "validation"):
        done("baseline", "popularity", "-d", run.data, "--split", split, "-o", split)
        done("evaluate", "-r", split, "-d", run.data, "-o", f"{split}-evaluation")
    failed = gloss("compare", "test-evaluation", "validation-evaluation")
    assert "of the split 'validation'" in failed.error
    assert "with the same --split" in failed.error


def test_an_unknown_metric_is_a_wrong_call(gloss, run):
    failed = gloss("compare", run.path, run.path, "--metric", "recall@7")
    assert failed.code == 2
    assert "no metric 'recall@7'" in failed.error


def test_a_ranking_is_exported_in_its_order(done, run):
    done("export", run.ranking(OURS), "-d", run.data, "-o", "trec")
    lines = [line.split(" ") for line in Path("trec/run.txt").read_text().splitlines()]
    (first, *_) = load_rankings(run.ranking(OURS))[1]
    listed = [item for user, _, item, *_ in lines if user == first.user]
    assert listed == [entry.item for entry in first.entries]
    assert len(Path("trec/qrels.txt").read_text().splitlines()) == run_users(run)


def run_users(run) -> int:
    return len(load_evaluation(run.evaluation(OURS))[1].users)


def test_an_evaluation_tells_what_lists_titles_and_beams_are_like(done, run):
    call = ("evaluate", "-r", run.ranking(OURS), "-d", run.data, "-o", "evaluation")
    without = json.loads(done(*call, "--json").out)
    beyond = json.loads(done(*call, "-g", run.generations, "--json").out)["beyond"]
    assert without["beyond"] == {"lists": beyond["lists"]}
    assert 0 < beyond["lists"]["coverage@5"] <= beyond["lists"]["coverage@20"] <= 1
    assert beyond["lists"]["novelty@5"] > 0
    assert beyond["titles"]["in_catalogue"] == 1.0  # decoded inside the catalogue
    assert beyond["titles"]["found_nothing"] == 0
    recall = without["overall"]["metrics"]["recall@20"]["mean"]
    assert beyond["beams"][-1]["so_far"] == pytest.approx(recall)
    assert "so far" in done(*call, "-g", run.generations).out


def test_generations_of_another_ranking_are_refused(gloss, run, tmp_path):
    (tmp_path / "other.json").write_text("[]")
    call = ("evaluate", "-r", run.ranking(OURS), "-d", run.data, "-o", "evaluation")
    failed = gloss(*call, "-g", tmp_path / "other.json")
    assert "was made from another generations" in failed.error
