"""Rankers without a language model and their fusion, by command and in one run."""

from __future__ import annotations

import json
from importlib import import_module
from itertools import groupby

import pytest
import yaml

from gloss.artifacts import open_artifact
from gloss.data.dataset import Dataset
from gloss.evaluation.evaluate import load_evaluation
from gloss.experiment import pipeline, stages
from gloss.experiment.loading import with_overrides
from gloss.experiment.run_folder import FUSED, OURS, RANKERS, RunFolder
from gloss.experiment.stages.report import report_on
from gloss.rankers.sasrec.ranker import SPEC as SASREC
from gloss.rankers.sasrec.settings import SASRecSettings
from gloss.rankers.sources import RankerSources
from gloss.rankers.transitions import SPEC as TRANSITIONS
from gloss.rankings.files import load_rankings
from processes import visible_bytes

STAGE = import_module("gloss.experiment.stages.run_ranker")
NAMES = ("transitions", "second-order-transitions", "word-overlap", "sasrec")
SETTINGS = {
    "name": "tiny",
    "data": {"source": "shop", "users": 150, "split": "leave-one-out"},
    "model": {"vocabulary": 400, "layers": 1, "width": 32, "heads": 2, "context": 256},
    "training": {"epochs": 1, "warmup_steps": 2, "validation_users": 10},
    "decoding": {"beams": 4},
    "limit_users": 60,
    "rankers": {
        "use": [*NAMES],
        "length": 40,
        "sasrec": {"text": False, "epochs": 2, "width": 16},
    },
    "fusion": {"guard": False},  # what is compared here is the fused list, whatever it is worth
}


@pytest.fixture(scope="module")
def fused(tmp_path_factory) -> RunFolder:
    """A run with rankers whose title vectors nobody needs."""
    folder = tmp_path_factory.mktemp("fused") / "run"
    pipeline.run(with_overrides(SETTINGS, []), folder)
    return RunFolder(folder)


def ranking(folder):
    return load_rankings(folder)[1]


def test_a_run_leaves_every_ranker_and_both_fusions(fused):
    assert set(fused.evaluations()) == {OURS, FUSED, RANKERS, "last-item", "popularity", *NAMES}
    for split in ("validation", "test"):
        for name in (OURS, *NAMES):
            assert open_artifact(fused.ranker(split, name), "ranking").config["split"] == split
    (report,) = report_on([fused.path])
    labels = [row.model for row in report.rows]
    assert labels[:2] == ["GLoSS", "GLoSS, fused with rankers"]
    assert "All rankers, without a language model" in labels


def test_all_are_measured_on_lists_of_one_length(fused):
    for name, folder in fused.evaluations().items():
        artifact, found = load_evaluation(folder)
        assert artifact.config["length"] == 20, name
        assert found.values["mrr"].tolist() == found.values["mrr@20"].tolist(), name


def test_weights_say_what_each_ranker_is_worth_and_on_whom_that_rests(fused):
    summary = open_artifact(fused.ranking(FUSED), "ranking").summary
    assert list(summary["weights"]) == [OURS, *NAMES]
    assert 0 < summary["fitted on users"] <= 60


def test_items_keep_their_reasons(fused):
    entries = [entry for each in ranking(fused.ranking(FUSED)) for entry in each.entries]
    assert all((entry.query is None) != (entry.because is None) for entry in entries)
    assert any(entry.because for entry in entries)


def test_a_second_run_does_nothing_again(fused):
    manifests = sorted(fused.path.rglob("manifest.json"))
    before = [file.stat().st_mtime_ns for file in manifests]
    pipeline.run(with_overrides(SETTINGS, []), fused.path)
    assert [file.stat().st_mtime_ns for file in manifests] == before


def test_a_change_of_one_ranker_leaves_the_others(fused):
    def made():
        return {
            str(file.parent.relative_to(fused.path)): file.stat().st_mtime_ns
            for file in fused.path.rglob("manifest.json")
        }

    before = made()
    changed = with_overrides(SETTINGS, ["rankers.second_order_transitions.decay=0.6"])
    pipeline.run(changed, fused.path)
    after = made()
    assert {name for name in after if after[name] != before[name]} == {
        "candidates/validation/second-order-transitions",
        "candidates/test/second-order-transitions",
        *(f"{kind}/{name}" for kind in ("rankings", "evaluations") for name in (FUSED, RANKERS)),
        "evaluations/second-order-transitions",
    }
    pipeline.run(with_overrides(SETTINGS, []), fused.path)


def test_the_commands_make_what_a_run_makes(done, fused):
    names = ("transitions", "second-order-transitions")
    for split in ("validation", "test"):
        told = ("-d", fused.data, "--split", split, "-k", 40, "--limit-users", 60)
        for name in names:
            done("baseline", name, *told, "-o", f"{split}/{name}")
    lists = [f"test/{name}" for name in names]
    known = [word for name in names for word in ("--validation", f"validation/{name}")]
    done("fuse", *lists, *known, "-d", fused.data, "-o", "both")
    done("fuse", *lists, "--rule", "reciprocal-rank", "-d", fused.data, "-o", "by-rank")
    done("evaluate", "-r", "both", "-d", fused.data, "-o", "evaluation")
    for split in ("validation", "test"):
        for name in names:
            assert ranking(f"{split}/{name}") == ranking(fused.ranker(split, name))
    assert len(ranking("by-rank")) == len(ranking("both")) == 60


def test_recommendations_say_whether_their_reason_was_bought_or_written(done, fused, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    bought = Dataset.load(fused.data).catalogue("fair")[0].title
    done("bundle", fused.path, "-o", "all")
    done("bundle", fused.path, "--no-model", "-o", "rankers")
    for bundle, way in (("all", "fused"), ("rankers", "rankers")):
        call = ("recommend", "-b", bundle, "--history", bought)
        answer = json.loads(done(*call, "--json").out)
        first = answer["items"][0]
        assert (answer["way"], first["why"], first["reason"]) == (way, bought, "bought")
        assert f"because of: {bought}" in done(*call).out


def test_sasrec_is_trained_once_for_both_splits(done, gloss, fused):
    told = ("-d", fused.data, "--limit-users", 5, "--trained", "networks")
    done("baseline", "sasrec", *told, "-o", "test")
    before = open_artifact("networks", "sasrec").path.joinpath("manifest.json").stat().st_mtime_ns
    done("baseline", "sasrec", *told, "--split", "validation", "-o", "validation")
    after = open_artifact("networks", "sasrec").path.joinpath("manifest.json").stat().st_mtime_ns
    assert after == before
    retrained = gloss("baseline", "sasrec", *told, "--seed", 1, "-o", "test")
    assert "networks is trained already: leave out --seed" in retrained.error


def test_rankings_that_are_no_pair_are_refused(gloss, fused):
    test, validation = (
        [fused.ranker(split, name) for name in ("transitions", "second-order-transitions")]
        for split in ("test", "validation")
    )
    told = ("-d", fused.data, "-o", "out")
    swapped = [word for path in reversed(validation) for word in ("--validation", path)]
    assert "not those of the same rankers" in gloss("fuse", *test, *swapped, *told).error
    peeked = [word for path in test for word in ("--validation", path)]
    assert "fitted on validation users alone" in gloss("fuse", *test, *peeked, *told).error
    assert "second-order-transitions against none" in gloss("fuse", *test, *told).error


def test_a_ranker_that_reads_titles_says_which_index_it_needs(gloss, fused):
    failed = gloss("baseline", "title-similarity", "-d", fused.data, "-o", "out")
    assert "name an index made with --retriever dense" in failed.error
    failed = gloss("baseline", "title-similarity", "-d", fused.data, "-i", fused.index, "-o", "out")
    assert "holds no vectors of 'fair' titles" in failed.error


def test_settings_of_rankers_are_checked(gloss, tmp_path):
    for setting, message in (
        ("rankers.uses=[sasrec]", "unknown setting rankers.uses (did you mean use?)"),
        ("rankers.sasrec.layer=1", "unknown setting rankers.sasrec.layer (did you mean layers?)"),
        ("rankers.use=[oracle]", "rankers.use.0: Input should be 'popularity', 'last-item'"),
        ("rankers.sasrec.heads=3", "width (16) must be a multiple of heads (3)"),
    ):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
        assert message in gloss("run", tmp_path / "config.yaml", setting, "--dry-run").error


def test_a_network_that_was_half_written_is_written_again(fused, tmp_path, monkeypatch):
    sources = RankerSources(Dataset.load(fused.data), "fair")
    settings = SASRecSettings(text=False, epochs=2, width=16, networks=2)

    def trained(name: str):
        return stages.train_ranker(SASREC, sources, tmp_path / name, settings=settings, seed=0)

    whole = trained("whole")
    with monkeypatch.context() as patched:
        patched.setattr("gloss.rankers.sasrec.network.save_network", torn)
        with pytest.raises(KeyboardInterrupt):
            trained("torn")
    again = trained("torn")
    assert visible_bytes(again.path) == visible_bytes(whole.path)
    first, second = sorted(again.path.glob("network-*"))
    assert first.read_bytes() != second.read_bytes()


def torn(_network, file):
    file.write_bytes(b"half a")
    raise KeyboardInterrupt


def test_users_ranked_some_at_a_time_have_the_lists_that_they_have_together(
    fused, tmp_path, monkeypatch
):
    """And progress goes on through all of them."""
    seen: list[tuple[int, int | None]] = []

    def note(done: int, total: int | None, /, note: str = "") -> None:
        seen.append((done, total))

    sources = RankerSources(Dataset.load(fused.data), "fair")
    lists = []
    for name, entries in (("together", 1 << 20), ("apart", 10 * 7)):
        monkeypatch.setattr(STAGE, "_BATCH_ENTRIES", entries)
        made = stages.run_ranker(
            TRANSITIONS,
            sources,
            tmp_path / name,
            settings=TRANSITIONS.settings(),
            length=10,
            exclude_seen=True,
            limit_users=30,
            progress=note,
        )
        lists.append(load_rankings(made.path)[1])
    together, apart = lists
    assert together == apart
    reported = [each for each, _ in groupby(seen)]  # by the ranker, and by whoever does the shards
    assert reported == [(30, 30), (7, 30), (14, 30), (21, 30), (28, 30), (30, 30)]
