from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gloss.artifacts import MANIFEST, open_artifact
from gloss.data.dataset import Dataset
from gloss.errors import ConfigError, InputError, MissingExtraError
from gloss.experiment import pipeline
from gloss.experiment.following import protocol_of
from gloss.experiment.loading import load_experiment, with_overrides
from gloss.experiment.run_folder import FUSED, OURS, RANKERS, RunFolder
from gloss.experiment.sizing import filled
from gloss.experiment.stages.report import report_on
from processes import ENVIRONMENT, TINY, Processes, kill_until_done, visible_bytes

STAGES = ("prepare", "train", "generate", "index", "rank", "evaluate", "report")
FEWER = "decoding.beams=3"


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """A whole experiment that takes a second."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def whole(processes, config, tmp_path_factory) -> Path:
    """What a run leaves behind that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert processes.gloss("run", config, "-o", folder).code == 0
    return folder


@pytest.fixture(scope="module")
def changed(processes, config, tmp_path_factory) -> Path:
    """The same with fewer beams."""
    folder = tmp_path_factory.mktemp("changed") / "run"
    assert processes.gloss("run", config, FEWER, "-o", folder).code == 0
    return folder


@pytest.fixture
def copied(whole, tmp_path) -> Path:
    """A finished run, to be spoiled."""
    folder = tmp_path / "run"
    return shutil.copytree(whole, folder)


def made_at(folder: Path) -> dict[str, int]:
    """When each artefact was made."""
    manifests = [m for m in sorted(folder.rglob(MANIFEST)) if not m.parent.name.startswith(".")]
    return {str(m.parent.relative_to(folder)): m.stat().st_mtime_ns for m in manifests}


def redone(folder: Path, before: dict[str, int]) -> set[str]:
    after = made_at(folder)
    assert after.keys() == before.keys()
    return {name for name in after if after[name] != before[name]}


AFTER_GENERATIONS = {"generations", "rankings/gloss", "evaluations/gloss"}


def test_a_run_leaves_what_its_folder_says(whole):
    names = (OURS, "last-item", "popularity")
    assert set(made_at(whole)) == {
        "data",
        "model",
        "generations",
        "index",
        *(f"rankings/{name}" for name in names),
        *(f"evaluations/{name}" for name in names),
    }
    assert list(RunFolder.open(whole).evaluations()) == [OURS, "last-item", "popularity"]
    assert not list(whole.rglob(".*"))


def test_the_settings_that_were_used_are_written(whole, config):
    written, typed = load_experiment(whole / "gloss-run.yaml"), load_experiment(config)
    assert written == filled(typed, written)
    assert written.training.learning_rate == 0.004  # nobody typed it: a narrow model's
    assert written.training.model_dump(exclude={"learning_rate"}) == typed.training.model_dump(
        exclude={"learning_rate"}
    )


def test_equal_runs_leave_equal_bytes_also_in_a_process_of_their_own(whole, config, tmp_path):
    code = "from gloss.cli.main import main; main()"
    command = [sys.executable, "-c", code, "run", str(config), "-o", "elsewhere/run"]
    said = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert said.returncode == 0, said.stderr
    assert visible_bytes(tmp_path / "elsewhere" / "run") == visible_bytes(whole)


def test_nothing_in_a_run_says_where_or_when(whole):
    for name, content in visible_bytes(whole).items():
        assert str(whole.parent).encode() not in content, name


def test_a_second_run_does_nothing_again(processes, config, copied):
    before = made_at(copied)
    assert processes.gloss("run", config, "-o", copied).code == 0
    assert redone(copied, before) == set()


@pytest.mark.parametrize(
    ("setting", "again"),
    [
        (FEWER, AFTER_GENERATIONS),
        ("ranking.fusion=reciprocal-rank", {"rankings/gloss", "evaluations/gloss"}),
        (
            "ranking.segments=[6, 9]",
            {f"evaluations/{n}" for n in (OURS, "last-item", "popularity")},
        ),
        ("training.learning_rate=0.5", {"model", *AFTER_GENERATIONS}),
        ("name=other", set()),
    ],
)
def test_a_change_redoes_what_depends_on_it_and_nothing_else(
    processes, config, copied, setting, again
):
    before = made_at(copied)
    assert processes.gloss("run", config, setting, "-o", copied).code == 0
    assert redone(copied, before) == again


def test_a_changed_run_is_the_run_that_was_begun_so(processes, config, copied, changed):
    assert processes.gloss("run", config, FEWER, "-o", copied).code == 0
    assert visible_bytes(copied) == visible_bytes(changed)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) * 2 // 3] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize(
    "name",
    [
        "model/model.safetensors",
        "data/catalogue.parquet",
        "generations/part-00003.jsonl",
        "index/data.npy",
        "rankings/gloss/ranking.parquet",
        "evaluations/popularity/metrics.json",
        "report.html",
    ],
)
def test_what_is_damaged_is_made_again(processes, config, copied, whole, name):
    flip(copied / name)
    before = made_at(copied)
    assert processes.gloss("run", config, "-o", copied).code == 0
    assert visible_bytes(copied) == visible_bytes(whole)
    if name != "report.html":
        assert str(Path(name).parent) in redone(copied, before)


def test_a_manifest_that_does_not_hold_its_seal_is_made_again(processes, config, copied, whole):
    manifest = copied / "model" / "manifest.json"
    said = json.loads(manifest.read_bytes())
    said["summary"]["parameters"] += 1
    manifest.write_text(json.dumps(said))
    assert processes.gloss("run", config, "-o", copied).code == 0
    assert visible_bytes(copied) == visible_bytes(whole)


def test_a_folder_whose_manifest_cannot_be_read_is_nobodys_and_stays(processes, config, copied):
    (copied / "model" / "manifest.json").write_bytes(b"{half a manifest")
    before = visible_bytes(copied / "model")
    ended = processes.gloss("run", config, "-o", copied)
    assert ended.code == 1
    assert "is a folder with other files in it" in ended.stderr
    assert visible_bytes(copied / "model") == before


def test_killed_at_random_moments_a_run_ends_with_the_same_bytes(
    processes: Processes, config, whole, tmp_path
):
    rng = random.Random(1)
    kills = 0
    for attempt in range(3):
        folder = tmp_path / f"run-{attempt}"
        for _ in range(6):
            ended = processes.gloss("run", config, "-o", folder, kill_after=rng.uniform(0.01, 0.8))
            assert ended.code in (None, 0), ended.stderr
            kills += ended.code is None
        assert processes.gloss("run", config, "-o", folder).code == 0
        assert visible_bytes(folder) == visible_bytes(whole)
    assert kills >= 10


def test_killed_before_any_write_a_run_ends_with_the_same_bytes(processes, config, whole, tmp_path):
    rng = random.Random(0)
    call = ("run", config, "-o", tmp_path / "run")
    assert kill_until_done(processes, *call, rng=rng, writes=35) >= 3
    assert visible_bytes(tmp_path / "run") == visible_bytes(whole)


def test_killed_while_replacing_what_was_there_a_run_ends_with_the_same_bytes(
    processes, config, copied, changed
):
    rng = random.Random(0)
    call = ("run", config, FEWER, "-o", copied)
    assert kill_until_done(processes, *call, rng=rng, writes=35) >= 3
    assert visible_bytes(copied) == visible_bytes(changed)
    assert not list(copied.rglob(".*"))


@pytest.mark.parametrize("moment", range(1, 6))
def test_killed_at_its_very_first_writes_a_run_can_be_begun_again(
    processes, config, tmp_path, moment
):
    ended = processes.gloss("run", config, "-o", tmp_path / "run", kill_at_write=moment)
    assert ended.code is None
    again = processes.gloss("run", config, "-o", tmp_path / "run", kill_after=0.3)
    assert again.code in (None, 0), again.stderr


def test_users_can_be_limited(processes, config, copied):
    assert processes.gloss("run", config, "limit_users=7", "-o", copied).code == 0
    for name in (OURS, "last-item", "popularity"):
        assert open_artifact(copied / "evaluations" / name, "evaluation").summary["users"] == 7


def test_a_run_can_be_the_papers(processes, config, tmp_path):
    ended = processes.gloss("run", config, "protocol=paper", "-o", tmp_path / "run", "--json")
    assert ended.code == 0, ended.stderr
    assert json.loads(ended.stdout)["GLoSS + BM25"].keys() == {
        "users",
        "recall@5",
        "ndcg@5",
        "mrr@5",
        "mrr",
    }


def test_settings_that_cannot_be_measured_are_an_error_before_any_work(tmp_path, config):
    for setting in ("ranking.length=5", "ranking.cutoffs=[21]", "ranking.segments=[9, 6]"):
        experiment = load_experiment(config, [setting])
        with pytest.raises(ConfigError):
            pipeline.run(experiment, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_folder_of_somebody_elses_is_refused(tmp_path, config):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something that is not a run"):
        pipeline.run(load_experiment(config), tmp_path)
    with pytest.raises(InputError, match="holds something that is not a run"):
        pipeline.run(load_experiment(config), tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_run_is_announced_stage_by_stage(run, experiment, tmp_path):
    told: list[str] = []

    def announce(stage):
        told.append(stage)
        return pipeline.quietly(stage)

    pipeline.run(experiment, run.path, announce=announce)
    assert tuple(told) == STAGES


def test_a_run_that_is_not_evaluated_has_no_report(tmp_path):
    settings = yaml.safe_dump({"name": "a", "data": {"source": "shop"}})
    (tmp_path / "gloss-run.yaml").write_text(settings)
    with pytest.raises(InputError, match="has no evaluation yet: finish it with `gloss run`"):
        report_on([tmp_path])


def test_drafts_and_what_was_replaced_are_no_evaluations(copied):
    for name in (".gloss.old", ".gloss.partial"):
        shutil.copytree(copied / "evaluations" / OURS, copied / "evaluations" / name)
    assert list(RunFolder.open(copied).evaluations()) == [OURS, "last-item", "popularity"]


def test_a_folder_without_a_run_is_not_opened(tmp_path):
    with pytest.raises(InputError, match="is not a run folder"):
        RunFolder.open(tmp_path)


def test_the_protocol_gives_what_the_ranking_section_does_not_set():
    settings = {"name": "a", "data": {"source": "shop"}, "ranking": {"per_query": 3}}
    protocol = protocol_of(with_overrides(settings, []))
    assert (protocol.per_query, protocol.fusion, protocol.length) == (3, "beam-order", 20)


def test_what_a_fusion_lacks_is_said_before_the_training(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    changes = ["rankers.use=[transitions]", "fusion.rule=trees"]
    with pytest.raises(MissingExtraError, match="trees"):
        pipeline.run(load_experiment(config, changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


SHIFTED = [
    "data.users=150",
    "rankers.use=[transitions, second-order-transitions]",
    "fusion.rule=trees",
    "fusion.shifted_run=true",
    "fusion.guard=false",
    "rankers.length=40",
]


@pytest.fixture(scope="module")
def shifted(config, tmp_path_factory) -> RunFolder:
    """A run of the paper split whose fusion was fitted one purchase earlier."""
    pytest.importorskip("lightgbm")
    folder = tmp_path_factory.mktemp("shifted") / "run"
    pipeline.run(load_experiment(config, SHIFTED), folder)
    return RunFolder(folder)


def test_a_shifted_run_asks_everybody_for_the_purchase_before_the_last(shifted):
    ours, earlier = Dataset.load(shifted.data), Dataset.load(shifted.shifted_run.data)
    assert (ours.split, earlier.split) == ("paper", "leave-one-out")
    assert len(ours.examples("validation")) < 10 < len(earlier.examples("validation"))
    fused = open_artifact(shifted.ranking(FUSED), "ranking")
    assert fused.inputs["shifted_run"] == earlier.fingerprint
    assert fused.summary["fitted on users"] > 10
    model = open_artifact(shifted.shifted_run.model, "model")
    model.require_input("dataset", earlier.fingerprint, "the shifted_run's data")
    assert not shifted.ranker("validation", "transitions").exists()


def test_a_shifted_run_that_is_done_is_not_done_again(shifted, config):
    before = made_at(shifted.path)
    pipeline.run(load_experiment(config, SHIFTED), shifted.path)
    assert redone(shifted.path, before) == set()


def test_leave_one_out_needs_no_shifted_run(config, tmp_path):
    pytest.importorskip("lightgbm")
    changes = [*SHIFTED, "data.split=leave-one-out"]
    pipeline.run_rankers(load_experiment(config, changes), tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    assert not folder.shifted_run.path.exists()
    assert folder.ranker("validation", "transitions").is_dir()


def test_rankers_alone_have_a_shifted_run_too(config, tmp_path):
    pytest.importorskip("lightgbm")
    pipeline.run_rankers(load_experiment(config, SHIFTED), tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    made = open_artifact(folder.ranking(RANKERS), "ranking")
    assert made.inputs["shifted_run"] == Dataset.load(folder.shifted_run.data).fingerprint
    assert not folder.shifted_run.model.exists()
