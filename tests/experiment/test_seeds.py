from __future__ import annotations

import pytest
import yaml

from gloss.artifacts import fingerprint_of_file
from gloss.errors import ConfigError
from gloss.evaluation.evaluate import load_evaluation
from gloss.experiment import pipeline
from gloss.experiment.loading import with_overrides
from gloss.experiment.run_folder import OURS, RANKERS, RunFolder
from gloss.experiment.seeds import Spread, spreads
from gloss.experiment.stages.report import report_on
from processes import TINY


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    """A run with the seeds 4 and 5."""
    folder = tmp_path_factory.mktemp("seeds") / "run"
    pipeline.run_seeds(with_overrides(yaml.safe_load(TINY), ["seed=4"]), folder, seeds=2)
    return RunFolder(folder)


def test_each_seed_is_a_run_of_its_own_on_the_same_users(run):
    ours, theirs = (load_evaluation(each.evaluation(OURS))[1] for each in (run, run.of_seed(5)))
    assert ours.users == theirs.users
    found = {each.name: each for each in spreads(run, "recall@20")}
    assert found[OURS].values == (ours.means()["recall@20"], theirs.means()["recall@20"])
    assert found["popularity"].deviation == 0.0  # nothing is drawn for it


def test_mean_and_deviation_are_those_of_the_seeds():
    spread = Spread("gloss", "recall@5", (0.1, 0.2, 0.6))
    assert spread.mean == pytest.approx((0.1 + 0.2 + 0.6) / 3)
    assert spread.deviation == pytest.approx(((0.2**2 + 0.1**2 + 0.3**2) / 2) ** 0.5)


def test_the_report_says_what_the_seed_makes(run):
    (report,) = report_on([run.path])
    (spread,) = [each for each in spreads(run, "recall@5") if each.name == OURS]
    said = {name: text for name, text in report.facts.items() if "seeds" in name}
    if spread.deviation == 0:
        assert said == {}
    else:
        text = f"{spread.mean:.4f}, standard deviation {spread.deviation:.4f}"
        assert said == {"Recall@5 of 2 seeds, GLoSS": text}


def test_a_run_of_other_settings_does_not_count(run):
    config = run.of_seed(5).config
    text = config.read_text()
    try:
        config.write_text(text.replace("beams: 4", "beams: 3"))
        assert spreads(run, "recall@5") == ()
    finally:
        config.write_text(text)
    assert spreads(run, "recall@5") != ()


RANKERS_ALONE = {
    "name": "alone",
    "data": {"source": "shop", "users": 60, "split": "leave-one-out"},
    "rankers": {
        "use": ["popularity", "sasrec"],
        "sasrec": {"text": False, "width": 8, "heads": 1, "epochs": 1},
    },
    "fusion": {"rule": "reciprocal-rank"},
}


def test_seeds_without_a_language_model_train_the_rankers_again(tmp_path):
    pytest.importorskip("torch")
    experiment = with_overrides(RANKERS_ALONE, [])
    pipeline.run_rankers(experiment, tmp_path / "run", seeds=2)
    folder = RunFolder(tmp_path / "run")
    found = {each.name: each for each in spreads(folder, "recall@20")}
    assert {*found} == {"popularity", "sasrec", RANKERS}
    assert found["popularity"].deviation == 0.0
    weights = {
        fingerprint_of_file(each.trained("sasrec") / "network-0.safetensors")
        for each in (folder, folder.of_seed(1))
    }
    assert len(weights) == 2


def test_seeds_that_would_change_nothing_are_refused(tmp_path):
    experiment = with_overrides(RANKERS_ALONE, ["rankers.use=[popularity, transitions]"])
    with pytest.raises(ConfigError, match="nothing is trained; run without --seeds"):
        pipeline.run_rankers(experiment, tmp_path / "run", seeds=2)
    assert not (tmp_path / "run").exists()
