"""Whose folder it is: nothing is removed or replaced that gloss did not write."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gloss.artifacts import MANIFEST, Recipe, open_artifact, set_aside
from gloss.errors import ArtifactError

FOREIGN = [
    '{"fingerprint": "abc", "name": "a web page"}',
    '{"kind": "thing", "fingerprint": "", "files": ["notes.txt"]}',
    '{"kind": "thing", "files": {"../notes.txt": {"bytes": 1, "sha256": "' + "0" * 64 + '"}}}',
    '{"kind": "thing", "files": {"notes.txt": {"bytes": 1, "sha256": "none"}}}',
    'not JSON, but "fingerprint" and "kind" and "files"',
    "[" * 100_000,
]


@pytest.mark.parametrize("content", FOREIGN)
def test_a_foreign_manifest_makes_no_folder_ours(tmp_path, make, files_of, content):
    theirs = tmp_path / "mine"
    theirs.mkdir()
    (theirs / MANIFEST).write_text(content)
    (theirs / "notes.txt").write_text("years of work")
    before = files_of(tmp_path)
    with pytest.raises(ArtifactError, match=r"other files in it; .*notes\.txt"):
        make(theirs)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("name", ["notes.txt", "deep/notes.txt", "more/notes.txt", ".notes"])
def test_what_a_user_has_put_into_an_artefact_is_named_and_kept(tmp_path, make, files_of, name):
    path = make(tmp_path / "thing").path
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_text("mine")
    before = files_of(tmp_path)
    with pytest.raises(ArtifactError, match=rf"did not write: move it away .*{re.escape(name)}"):
        make(path, "balls")
    assert files_of(tmp_path) == before
    assert open_artifact(path, "thing").config == {"text": "kites"}


def test_a_note_that_comes_while_the_work_is_done_stays_and_so_does_the_work(tmp_path, make):
    path = make(tmp_path / "thing").path

    def work() -> None:
        with Recipe("thing", {"text": "balls"}, {}).draft(path) as draft:
            draft.write_json("one.json", "balls")
            (path / "notes.txt").write_text("mine")

    with pytest.raises(ArtifactError, match=r"notes\.txt"):
        work()
    assert (path / "notes.txt").read_text() == "mine"
    assert open_artifact(path, "thing").config == {"text": "kites"}
    (path / "notes.txt").rename(tmp_path / "notes.txt")
    assert Recipe("thing", {"text": "balls"}, {}).finish(path)
    assert open_artifact(path, "thing").config == {"text": "balls"}


def test_a_link_to_a_folder_is_somebodys_and_what_it_leads_to_is_not_entered(tmp_path, make):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "two.json").write_text("mine")
    path = make(tmp_path / "thing").path
    (path / "more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="more"):
        make(path, "balls")
    assert (tmp_path / "elsewhere" / "two.json").read_text() == "mine"


def test_a_file_of_ours_that_was_made_a_link_is_replaced_and_what_it_leads_to_is_not(
    tmp_path, make
):
    path = make(tmp_path / "thing").path
    (path / "one.json").rename(tmp_path / "moved.json")
    (path / "one.json").symlink_to(tmp_path / "moved.json")
    make(path, "balls")
    assert (tmp_path / "moved.json").read_text() == '"kites"\n'


def test_empty_folders_are_nobodys(tmp_path, make):
    path = make(tmp_path / "thing").path
    (path / "empty" / "too").mkdir(parents=True)
    assert make(path, "balls").config == {"text": "balls"}
    assert [p.name for p in tmp_path.iterdir()] == ["thing"]


@pytest.mark.parametrize("damage", ["missing", "altered", "unsealed", "of schema 1"])
def test_a_damaged_artefact_of_ours_may_be_made_again(tmp_path, make, damage):
    path = make(tmp_path / "thing").path
    manifest = json.loads((path / MANIFEST).read_bytes())
    if damage == "missing":
        (path / "one.json").unlink()
    elif damage == "altered":
        (path / "one.json").write_text("balls")
    elif damage == "unsealed":
        (path / MANIFEST).write_text(json.dumps({**manifest, "summary": {"recall": 1.0}}))
    else:
        del manifest["seal"]
        (path / MANIFEST).write_text(json.dumps({**manifest, "schema": 1}))
    with pytest.raises(ArtifactError):
        open_artifact(path, "thing")
    assert make(path).config == {"text": "kites"}


def test_another_kind_is_refused_however_damaged(tmp_path, make):
    path = make(tmp_path / "thing").path
    (path / "one.json").unlink()
    with (
        pytest.raises(ArtifactError, match="of the kind 'thing', not 'model'"),
        Recipe("model", {}, {}).draft(path),
    ):
        pass


@pytest.mark.parametrize("name", [".thing.partial", ".thing.old"])
def test_a_hidden_folder_of_somebody_elses_is_kept(tmp_path, make, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "notes.txt").write_text("mine")
    if name == ".thing.partial":
        with pytest.raises(ArtifactError, match=r"is in the way: it holds notes\.txt"):
            make(tmp_path / "thing")
    else:
        make(tmp_path / "thing")
        make(tmp_path / "thing", "balls")
    assert (tmp_path / name / "notes.txt").read_text() == "mine"


def test_a_lock_file_of_somebody_elses_is_kept(tmp_path, make):
    (tmp_path / ".thing.lock").write_text("mine")
    make(tmp_path / "thing")
    assert (tmp_path / ".thing.lock").read_text() == "mine"


def test_what_is_set_aside_is_whole_and_never_replaces_another(tmp_path, make, files_of):
    path = make(tmp_path / "thing").path
    (path / "one.json").write_text("damaged")
    before = files_of(path)
    first = set_aside(path, "thing")
    assert not path.exists()
    make(path)
    second = set_aside(path, "thing")
    assert first != second
    assert files_of(first) == before
    assert open_artifact(second, "thing")


def test_nothing_is_set_aside_with_notes_in_it(tmp_path, make):
    path = make(tmp_path / "thing").path
    (path / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=r"notes\.txt"):
        set_aside(path, "thing")
    assert (path / "notes.txt").read_text() == "mine"


def test_an_empty_folder_keeps_its_mode(tmp_path, make):
    path = tmp_path / "thing"
    path.mkdir(mode=0o750)
    make(path)
    assert path.stat().st_mode & 0o777 == 0o750


def test_names_of_the_reproduction_are_refused_on_the_command_line(processes, tmp_path, files_of):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / MANIFEST).write_text('{"fingerprint": "of something else"}')
    (mine / "thesis.txt").write_text("years of work")
    before = files_of(Path(tmp_path))
    ended = processes.gloss("prepare", "shop", "-o", mine)
    assert ended.code == 1
    assert "thesis.txt" in ended.stderr
    assert files_of(tmp_path) == before
