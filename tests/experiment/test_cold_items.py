"""The protocol `cold-items`: what a run that has not seen some items finds of them later."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from gloss.artifacts import MANIFEST
from gloss.cli.app import app
from gloss.data.dataset import Dataset
from gloss.errors import InputError
from gloss.evaluation.evaluate import load_evaluation
from gloss.experiment import pipeline
from gloss.experiment.cold_items import measure, read_figures
from gloss.experiment.loading import with_overrides
from gloss.experiment.run_folder import RANKERS, RunFolder
from gloss.rankings.records import FUSED_LIST
from gloss.recommender.bundle import open_bundle

PARTS = ("transitions", "popularity", "word-overlap")
SETTINGS = {
    "name": "cold",
    "data": {"source": "shop", "users": 400, "split": "leave-one-out", "cold_items": 0.2},
    "rankers": {"use": [*PARTS], "length": 60},
    "fusion": {"rule": "reciprocal-rank"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    folder = tmp_path_factory.mktemp("cold") / "run"
    pipeline.run_rankers(with_overrides(SETTINGS, []), folder)
    measure(folder, model=False)
    return RunFolder(folder)


@pytest.fixture(scope="module")
def figures(run) -> dict:
    return read_figures(measure(run.path, model=False))


def recall(measured: dict, cutoff: int = 5) -> float:
    return measured["metrics"][f"recall@{cutoff}"]["mean"]


def test_the_bundle_knows_no_cold_item_before_the_update_and_all_of_them_after(run):
    cold = {*Dataset.load(run.data).cold_items().items["item"]}
    before, after = (
        {item.id for item in open_bundle(run.cold_items / name).catalogue}
        for name in ("bundle", "updated")
    )
    assert not cold & before
    assert after == before | cold


def test_what_counts_purchases_finds_no_cold_item_and_what_reads_titles_does(figures):
    cold = figures["cold"]
    assert set(cold) == {*PARTS, FUSED_LIST}
    assert recall(cold["transitions"], 20) == recall(cold["popularity"], 20) == 0
    assert recall(cold["word-overlap"], 20) > 0.05


def test_what_counts_purchases_answers_the_others_as_before(figures):
    for name in ("transitions", "popularity"):
        difference = figures["others"][name]["difference"]["recall@20"]
        assert (difference["better"], difference["worse"], difference["p_value"]) == (0, 0, 1)


def test_before_is_what_the_run_has_measured(run, figures):
    for name, measured in (*((name, name) for name in PARTS), (RANKERS, FUSED_LIST)):
        _, evaluation = load_evaluation(run.evaluation(name))
        before = figures["others"][measured]["before"]
        assert before["users"] == len(evaluation.users)
        assert recall(before) == pytest.approx(evaluation.means()["recall@5"], abs=1e-12)


def test_the_fused_list_is_compared_with_each_part_user_by_user(figures):
    cold = figures["cold"]
    for name in PARTS:
        compared = cold[name]["fused"]["recall@5"]
        assert compared["users"] == cold[name]["users"]
        assert compared["difference"] == pytest.approx(
            recall(cold[FUSED_LIST]) - recall(cold[name])
        )


def test_what_is_measured_is_not_measured_again(run, figures):
    manifest = run.cold_items / "evaluation" / MANIFEST
    written = manifest.stat().st_mtime_ns
    measure(run.path, model=False)
    assert manifest.stat().st_mtime_ns == written


def test_a_run_that_has_seen_everything_says_how_to_hold_items_out(tmp_path):
    settings = with_overrides(SETTINGS, ["data.cold_items=null", "data.users=60"])
    pipeline.run_rankers(settings, tmp_path / "run")
    with pytest.raises(InputError, match="run it with data"):
        measure(tmp_path / "run", model=False)


def test_the_command_measures_it_in_the_same_call(run, tmp_path, capsys):
    config = tmp_path / "cold.yaml"
    config.write_text(json.dumps(SETTINGS))
    call = ["run", str(config), "--no-model", "-o", str(run.path), "--json"]
    app(call, standalone_mode=False)
    said = json.loads(capsys.readouterr().out)
    assert said["cold items"]["cold"]["word-overlap"]["users"] > 20
    assert said["rankers-only"]["users"] > 300
    app(call[:-1], standalone_mode=False)
    assert "new items" in capsys.readouterr().out


def test_a_fit_holds_nothing_out(run, tmp_path):
    from gloss.experiment.bundling import fit

    made = fit(
        with_overrides(SETTINGS, []),
        tmp_path / "bundle",
        parts=tmp_path / "parts",
        measured=run.path,
        model=False,
    )
    everything = Dataset.load(run.data)
    items = len(everything.catalogue("fair")) + everything.cold_items().items.height
    assert len(open_bundle(made.path).catalogue) == items
    assert pl.read_parquet(Path(made.path) / "catalogue.parquet").height == items
