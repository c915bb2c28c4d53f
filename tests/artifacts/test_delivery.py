"""How an artefact gets to its place: at once, file by file in a mount point, and after a kill."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from gloss.artifacts import MANIFEST, Recipe, delivery, open_artifact
from gloss.artifacts.files import exchange, locked
from gloss.errors import ArtifactError, BeingReplacedError

RECIPE = Recipe("thing", {"text": "balls"}, {})


def hidden(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob(".*"))


def test_folders_change_places_in_one_step(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this system cannot exchange folders")
    assert [(tmp_path / n / "file").read_text() for n in ("a", "b")] == ["b", "a"]


@pytest.mark.parametrize("disk", ["volume", "same_disk", "closed_parent"])
def test_a_mount_point_is_filled_replaced_and_left_tidy(request, make, files_of, disk):
    out = request.getfixturevalue(disk)
    first = make(out)
    assert first.config == {"text": "kites"}
    with RECIPE.draft(out) as draft:
        assert draft.path == out / ".gloss.partial"
        assert open_artifact(out, "thing") == first
        draft.write_json("one.json", "balls")
    assert sorted(files_of(out)) == [MANIFEST, "one.json"]
    assert open_artifact(out, "thing").config == {"text": "balls"}
    assert os.path.ismount(out) or disk == "same_disk"
    assert not hidden(out.parent)


def test_a_mount_point_with_something_in_it_is_refused_before_the_work(volume, make, files_of):
    (volume / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=r"notes\.txt"):
        make(volume)
    assert files_of(volume) == {"notes.txt": b"mine"}


def test_what_a_new_disk_holds_is_in_nobodys_way(volume, make):
    (volume / "lost+found").mkdir()
    assert make(volume).config == {"text": "kites"}
    assert (volume / "lost+found").is_dir()


@pytest.mark.parametrize("empty", [True, False])
def test_the_folder_that_one_works_in_can_be_written(tmp_path, make, monkeypatch, empty):
    out = tmp_path / "out"
    out.mkdir()
    if not empty:
        make(out)
    monkeypatch.chdir(out)
    before = out.stat().st_ino
    assert make(Path(), "balls").config == {"text": "balls"}
    assert make(Path("../out"), "caps").config == {"text": "caps"}
    assert Path.cwd().stat().st_ino == before
    assert not hidden(tmp_path)


def test_work_begun_from_elsewhere_goes_on_in_the_folder_itself(tmp_path, make, monkeypatch):
    out = tmp_path / "out"
    make(out)
    with (
        suppress(KeyboardInterrupt),
        RECIPE.draft(out) as draft,
    ):
        draft.write_json("one.json", "begun")
        raise KeyboardInterrupt
    monkeypatch.chdir(out)
    with RECIPE.draft(Path()) as draft:
        assert (draft.path / "one.json").read_text() == '"begun"\n'
    assert open_artifact(out, "thing").config == {"text": "balls"}
    assert not hidden(tmp_path)


def test_a_link_is_followed_and_stays(tmp_path, make):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "thing"
    link.symlink_to(tmp_path / "disk" / "real")
    make(link)
    make(link, "balls")
    assert link.is_symlink()
    assert open_artifact(tmp_path / "disk" / "real", "thing").config == {"text": "balls"}
    assert open_artifact(link, "thing").path == link
    assert not hidden(tmp_path)


def test_a_link_to_itself_is_an_error(tmp_path, make):
    (tmp_path / "thing").symlink_to("thing")
    with pytest.raises(ArtifactError, match="leads nowhere"):
        make(tmp_path / "thing")


def test_where_folders_cannot_change_places_two_renames_do(tmp_path, make, monkeypatch):
    monkeypatch.setattr(delivery, "exchange", lambda *_: False)
    make(tmp_path / "thing")
    assert make(tmp_path / "thing", "balls").config == {"text": "balls"}
    assert [p.name for p in tmp_path.iterdir()] == ["thing"]


@pytest.fixture
def between_renames(tmp_path, make, monkeypatch) -> Path:
    """What a kill between two renames leaves: neither version under its name."""
    path = make(tmp_path / "thing").path
    monkeypatch.setattr(delivery, "exchange", lambda *_: False)
    rename = Path.rename

    def cut_off(self: Path, to: Path) -> Path:
        if to == path and self.name == ".thing.partial":
            raise KeyboardInterrupt
        return rename(self, to)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", cut_off)
        with pytest.raises(KeyboardInterrupt):
            make(path, "balls")
    assert not path.exists()
    return path


def test_a_reader_finds_the_old_version_after_a_kill_between_two_renames(between_renames):
    assert open_artifact(between_renames, "thing").config == {"text": "kites"}
    assert open_artifact(between_renames, "thing").config == {"text": "kites"}


def test_the_next_call_finds_the_new_version_after_a_kill_between_two_renames(between_renames):
    assert RECIPE.finish(between_renames)
    assert open_artifact(between_renames, "thing").config == {"text": "balls"}
    assert [p.name for p in between_renames.parent.iterdir()] == ["thing"]


def test_between_two_renames_a_reader_is_told_to_try_again(between_renames):
    lock = between_renames.with_name(".thing.lock")
    with locked(lock, "busy"), pytest.raises(BeingReplacedError, match="is being replaced: try ag"):
        open_artifact(between_renames, "thing")
    assert open_artifact(between_renames, "thing").config == {"text": "kites"}


def says(out: Path) -> str:
    """The one thing that all files of a version say."""
    made = open_artifact(out, "thing")
    text = made.config["text"]
    assert {json.loads(made.file(name).read_bytes()) for name in made.files} == {text}
    assert set(made.files) == {"one.json", "deep/two.json", f"of-{text}.json"}
    return str(text)


@pytest.mark.parametrize("way", ["exchange", "two renames", "file by file"])
def test_killed_before_any_change_the_old_version_stands_or_the_new_and_the_next_call_ends(
    request, tmp_path, make, write, files_of, way
):
    out = request.getfixturevalue("volume") if way == "file by file" else tmp_path / "thing"
    make(out)
    undisturbed = files_of(make(tmp_path / "undisturbed" / "balls", "balls").path)
    met = set()
    for moment in range(1, 60):
        killed = write(out, "balls", way, kill_at=moment)
        met.add(says(out))
        assert not write(out, "balls", way)
        assert says(out) == "balls"
        assert files_of(out) == undisturbed
        assert not hidden(tmp_path)
        if not killed:
            break
        make(out)
    assert 15 < moment < 59
    assert met == {"kites", "balls"}


@pytest.mark.parametrize("way", ["exchange", "file by file"])
def test_after_a_kill_other_work_goes_through_too(request, tmp_path, make, write, way):
    out = request.getfixturevalue("volume") if way == "file by file" else tmp_path / "thing"
    make(out)
    for moment in range(1, 60):
        killed = write(out, "balls", way, kill_at=moment)
        assert not write(out, "caps", way)
        assert says(out) == "caps"
        assert not hidden(tmp_path)
        if not killed:
            return
    raise AssertionError("it never ends")


@pytest.mark.parametrize("disk", ["volume", "closed_parent"])
def test_a_container_prepares_trains_and_runs_into_its_volume(
    request, processes, tiny_config, tmp_path, disk
):
    out = request.getfixturevalue(disk)

    def done(*arguments: object) -> None:
        ended = processes.gloss(*arguments)
        assert ended.code == 0, ended.stderr

    def emptied() -> None:
        subprocess.run(["find", str(out), "-mindepth", "1", "-delete"], check=True)

    data = tmp_path / "data"
    done("prepare", "shop", "--users", 60, "-o", data)
    done("prepare", "shop", "--users", 60, "-o", out)
    assert open_artifact(out, "dataset").fingerprint == open_artifact(data, "dataset").fingerprint
    emptied()
    done("train", tiny_config, "-d", data, "-o", out)
    trained = (out / MANIFEST).stat().st_mtime_ns
    done("train", tiny_config, "-d", data, "-o", out)
    assert (out / MANIFEST).stat().st_mtime_ns == trained
    done("train", tiny_config, "seed=1", "-d", data, "-o", out)
    assert open_artifact(out, "model").config["seed"] == 1
    emptied()
    done("run", tiny_config, "-o", out)
    assert (out / "report.html").is_file()
    assert not hidden(out)
