"""Work is not lost: what was trained, written or completed before a kill is not made again."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

import pytest

from gloss.artifacts import Draft, Recipe, making, open_artifact
from gloss.artifacts.files import locked
from gloss.errors import ArtifactError, ConfigError, InputError
from gloss.experiment import pipeline
from gloss.experiment.loading import load_experiment, with_overrides
from gloss.experiment.run_folder import RunFolder
from processes import visible_bytes

RECIPE = Recipe("thing", {}, {})


def never(_: Draft) -> None:
    raise AssertionError("it was made again")


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["_seal", "deliver"])
def test_a_draft_that_was_complete_is_only_sealed_and_delivered(tmp_path, monkeypatch, step):
    def work() -> None:
        with RECIPE.draft(tmp_path / "thing", scratch=("checkpoints",)) as draft:
            (draft.path / "checkpoints").mkdir()
            draft.write_json("checkpoints/last.json", 1)
            draft.write_json("one.json", 1)
            draft.summary["trained"] = True

    with monkeypatch.context() as patched:
        patched.setattr(making, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            work()
    made = RECIPE.make(tmp_path / "thing", never)
    assert made.summary == {"trained": True}
    assert list(made.files) == ["one.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["thing"]


def test_what_a_killed_writer_left_half_written_is_no_part_of_the_artefact(tmp_path):
    def killed() -> None:
        with RECIPE.draft(tmp_path / "thing") as draft:
            (draft.path / "network-1").mkdir()
            for name in (".one.json.tmp", ".tmpKx3f9", "network-1/.tmpQ"):
                (draft.path / name).write_text("half of")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    made = RECIPE.make(tmp_path / "thing", lambda draft: draft.write_json("one.json", 1))
    assert list(made.files) == ["one.json"]
    assert [path.name for path in sorted(made.path.rglob("*"))] == ["manifest.json", "one.json"]


def test_until_the_manifest_is_written_checkpoints_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(making, "_seal", interrupt)

    def work() -> None:
        with RECIPE.draft(tmp_path / "thing", scratch=("checkpoints",)) as draft:
            (draft.path / "checkpoints").mkdir()
            draft.write_json("checkpoints/last.json", 1)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert (tmp_path / ".thing.partial" / "checkpoints" / "last.json").is_file()


def test_what_a_kill_left_of_other_work_is_never_gone_on_with(tmp_path, monkeypatch):
    """Not even where it was killed while it was emptied."""

    def work(config: dict[str, int]) -> None:
        with Recipe("thing", config, {}).draft(tmp_path / "thing") as draft:
            for name in ("a.json", "b.json"):
                draft.write_json(name, config)

    with monkeypatch.context() as patched:
        patched.setattr(making, "_seal", interrupt)
        with pytest.raises(KeyboardInterrupt):
            work({"n": 1})
        patched.setattr(making, "_remove", interrupt)
        with pytest.raises(KeyboardInterrupt):
            work({"n": 2})
    assert not Recipe("thing", {"n": 1}, {}).finish(tmp_path / "thing")
    work({"n": 1})
    assert list(open_artifact(tmp_path / "thing", "thing").files) == ["a.json", "b.json"]


def test_work_that_fails_before_anything_is_written_leaves_nothing(tmp_path):
    def fail(_: Draft) -> None:
        raise InputError("the graph holds no users")

    with pytest.raises(InputError, match="no users"):
        RECIPE.make(tmp_path / "thing", fail)
    assert [*tmp_path.iterdir()] == []


def test_what_is_looked_for_before_the_work_leaves_a_draft_of_other_work(tmp_path):
    def cut(draft: Draft) -> None:
        draft.write_json("one.json", 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RECIPE.make(tmp_path / "thing", cut)

    def cannot_load() -> None:
        raise InputError("nothing to load")

    with pytest.raises(InputError):
        Recipe("thing", {"n": 2}, {}).make_from(tmp_path / "thing", cannot_load)
    assert (tmp_path / ".thing.partial" / "one.json").is_file()


def test_a_part_that_was_altered_is_not_finished(tmp_path):
    def work(text: str) -> bool:
        with RECIPE.draft(tmp_path / "thing") as draft:
            finished = draft.is_finished("one")
            if not finished:
                draft.write_json("one.json", text)
                draft.finish("one", ["one.json"])
            if text == "cut":
                raise KeyboardInterrupt
        return finished

    with pytest.raises(KeyboardInterrupt):
        work("cut")
    part = tmp_path / ".thing.partial" / "one.json"
    part.write_bytes(part.read_bytes().replace(b"cut", b"cat"))
    assert not work("again")
    assert json.loads((tmp_path / "thing" / "one.json").read_bytes()) == "again"


def test_a_part_that_was_altered_after_all_was_done_is_not_sealed(tmp_path, monkeypatch):
    def work(draft: Draft, text: str = "again") -> None:
        if not draft.is_finished("one"):
            draft.write_json("one.json", text)
            draft.finish("one", ["one.json"])

    with monkeypatch.context() as patched:
        patched.setattr(making, "_seal", interrupt)
        with pytest.raises(KeyboardInterrupt):
            RECIPE.make(tmp_path / "thing", lambda draft: work(draft, "cut"))
    (tmp_path / ".thing.partial" / "one.json").write_text('"cat"')
    with pytest.raises(ArtifactError, match=r"one\.json is not what was written: repeat"):
        RECIPE.make(tmp_path / "thing", work)
    RECIPE.make(tmp_path / "thing", work)
    assert json.loads((tmp_path / "thing" / "one.json").read_bytes()) == "again"


def test_a_shard_that_was_altered_in_a_draft_is_written_again(processes, run, tmp_path):
    call = ("generate", "-m", run.model, "-d", run.data, "--limit-users", 24, "--beams", 2)
    shards = ("--shard-users", 4)
    assert processes.gloss(*call, *shards, "-o", tmp_path / "whole").code == 0
    draft = tmp_path / ".cut.partial"
    for moment in range(5, 60):
        killed = processes.gloss(*call, *shards, "-o", tmp_path / "cut", kill_at_write=moment)
        assert killed.code is None
        if (draft / "part-00002.jsonl").exists():
            break
    first = draft / "part-00000.jsonl"
    first.write_bytes(first.read_bytes().replace(b"a", b"e"))
    assert processes.gloss(*call, *shards, "-o", tmp_path / "cut").code == 0
    assert visible_bytes(tmp_path / "cut") == visible_bytes(tmp_path / "whole")


def test_killed_at_any_late_moment_nothing_is_trained_again(processes, run, tiny_config, tmp_path):
    """From the moment that the model is complete, another call takes what is there."""
    call = ("train", tiny_config, "-d", run.data, "-o", tmp_path / "model")
    note = tmp_path / ".model.partial" / ".draft.json"
    sealed = 0
    for moment in range(15, 200):  # before that it has not begun to train
        (tmp_path / ".model.lock").unlink(missing_ok=True)
        ended = processes.gloss(*call, kill_at_write=moment)
        if ended.code == 0:
            break
        if note.exists() and b'"complete"' in note.read_bytes():
            sealed += 1
            before = (tmp_path / ".model.partial" / "model.safetensors").stat().st_mtime_ns
            assert processes.gloss(*call).code == 0
            assert (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns == before
            shutil.rmtree(tmp_path / "model")
        shutil.rmtree(tmp_path / ".model.partial", ignore_errors=True)
    assert sealed >= 5


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


@pytest.fixture
def copied(run, tmp_path) -> RunFolder:
    return RunFolder(shutil.copytree(run.path, tmp_path / "run"))


def test_a_damaged_model_is_made_again_aloud_and_kept(processes, tiny_config, tmp_path):
    call = ("run", tiny_config, "-o", tmp_path / "run")
    assert processes.gloss(*call).code == 0
    model = tmp_path / "run" / "model"
    flip(model / "model.safetensors")
    damaged = visible_bytes(model)
    ended = processes.gloss(*call)
    assert ended.code == 0
    kept = model.with_name(".model.damaged")
    assert f"{model / 'model.safetensors'} is damaged" in ended.stderr
    assert f"it is made again, and kept as {kept}" in ended.stderr
    assert visible_bytes(kept) == damaged
    assert open_artifact(model, "model")
    assert "damaged" not in processes.gloss(*call).stderr


def test_other_damage_is_said_and_not_kept(tmp_path, make, caplog):
    path = make(tmp_path / "thing").path
    flip(path / "one.json")
    with caplog.at_level(logging.WARNING):
        Recipe("thing", {"text": "kites"}, {}).make(path, lambda _: None)
    (said,) = caplog.messages
    assert said == (
        f"{path / 'one.json'} is damaged: its content is not what was written: it is made again"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["thing"]


def test_a_second_run_is_refused_and_changes_nothing(copied, experiment):
    changed = experiment.model_copy(update={"name": "other", "limit_users": 3})
    before = visible_bytes(copied.path)
    with (
        locked(copied.lock, "busy"),
        pytest.raises(ArtifactError, match="another process is at work on the run"),
    ):
        pipeline.run(changed, copied.path)
    assert visible_bytes(copied.path) == before


@pytest.mark.parametrize("name", ["config.yaml", "notes.txt", ".hidden"])
def test_a_users_own_configuration_is_never_overwritten(tmp_path, experiment, name):
    (tmp_path / name).write_text("title: my web site  # and a comment\n")
    with pytest.raises(InputError, match="holds something that is not a run"):
        pipeline.run(experiment, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "title: my web site  # and a comment\n"


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/b", "..", ".", "", " ", ".x", "a\nb"])
def test_a_name_that_leads_elsewhere_is_refused(name):
    with pytest.raises(ConfigError, match="printable characters without"):
        with_overrides({"name": name, "data": {"source": "shop"}}, [])


def test_names_of_experiments_may_be_titles():
    for name in ("toys-scratch-cpu", "Toys, 2nd try", "Spielzeug für Jürgen"):
        assert with_overrides({"name": name, "data": {"source": "shop"}}, []).name == name


def test_every_experiment_of_ours_has_a_name_for_a_folder():
    found = [*(Path(__file__).parents[2] / "configs").glob("*.yaml")]
    assert found
    assert all(load_experiment(path).name for path in found)


def test_nothing_is_written_outside_runs_by_a_shared_configuration(processes, tmp_path):
    (tmp_path / "deep").mkdir()
    config = tmp_path / "evil.yaml"
    config.write_text("name: ../../evil\ndata: {source: shop}\n")
    here = Path.cwd()
    os.chdir(tmp_path / "deep")
    try:
        assert processes.gloss("run", config).code == 2
    finally:
        os.chdir(here)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["deep", "evil.yaml"]
