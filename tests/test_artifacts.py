from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gloss.artifacts import (
    MANIFEST,
    Artifact,
    Draft,
    Recipe,
    fingerprint_of,
    open_artifact,
    write_atomic,
)
from gloss.errors import ArtifactError, GlossError
from processes import visible_bytes

CONFIG = {"beams": 5, "cutoffs": (1, 5)}
INPUTS = {"dataset": "f00"}


@contextmanager
def making(
    path: Path, *, config=CONFIG, inputs=INPUTS, kind="model", scratch=()
) -> Iterator[Draft]:
    with Recipe(kind, config, inputs).draft(path, scratch=scratch) as draft:
        yield draft


def make(path: Path, text: str = "kites\n" * 100, **changes) -> Artifact:
    with making(path, **changes) as draft:
        (draft.path / "deep").mkdir(exist_ok=True)
        write_atomic(draft.path / "deep" / "titles.txt", text.encode())
        draft.write_json("more.json", {"b": 1, "a": "é"})
        draft.summary["titles"] = 100
    return open_artifact(path, changes.get("kind", "model"))


def test_what_was_written_is_opened(tmp_path):
    made = make(tmp_path / "model")
    assert made.config == {"beams": 5, "cutoffs": [1, 5]}
    assert made.inputs == INPUTS
    assert made.summary == {"titles": 100}
    assert json.loads((made.path / "more.json").read_bytes()) == {"b": 1, "a": "é"}
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_until_the_block_ends_there_is_nothing(tmp_path):
    with making(tmp_path / "model") as draft:
        draft.write_json("more.json", {})
        assert not (tmp_path / "model").exists()
    assert open_artifact(tmp_path / "model", "model")


def test_a_block_that_fails_leaves_nothing_and_the_old_one_as_it_was(tmp_path):
    with pytest.raises(ZeroDivisionError), making(tmp_path / "model"):
        _ = 1 / 0
    assert not (tmp_path / "model").exists()
    old = make(tmp_path / "model")
    with pytest.raises(ZeroDivisionError), making(tmp_path / "model", config={"beams": 6}):
        _ = 1 / 0
    assert open_artifact(tmp_path / "model", "model") == old


def test_equal_work_gives_equal_bytes(tmp_path):
    make(tmp_path / "here")
    make(tmp_path / "else" / "where")
    assert visible_bytes(tmp_path / "here") == visible_bytes(tmp_path / "else" / "where")


def test_the_fingerprint_is_that_of_the_files_and_not_of_the_settings(tmp_path):
    one, other = make(tmp_path / "a"), make(tmp_path / "b", config={}, inputs={})
    assert one.fingerprint == other.fingerprint
    assert make(tmp_path / "c", "balls").fingerprint != one.fingerprint


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate, "damaged: 599 bytes instead of 600"),
        (flip_a_bit, "damaged"),
        (Path.unlink, "missing"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, damage, said):
    file = make(tmp_path / "model").path / "deep" / "titles.txt"
    damage(file)
    with pytest.raises(ArtifactError, match=rf"{file} is {said}"):
        open_artifact(tmp_path / "model", "model")
    assert not Recipe("model", CONFIG, INPUTS).find_current(tmp_path / "model")


def test_another_kind_is_an_error_that_names_both(tmp_path):
    make(tmp_path / "model")
    with pytest.raises(ArtifactError, match="of the kind 'model', not 'index'"):
        open_artifact(tmp_path / "model", "index")


def test_a_folder_without_a_manifest_is_not_whole(tmp_path):
    (make(tmp_path / "model").path / MANIFEST).unlink()
    with pytest.raises(ArtifactError, match=f"not a whole artefact: it has no {MANIFEST}"):
        open_artifact(tmp_path / "model", "model")


def test_nothing_there_is_an_error(tmp_path):
    with pytest.raises(ArtifactError, match="does not exist"):
        open_artifact(tmp_path / "model", "model")


def test_a_file_is_not_an_artefact(tmp_path):
    (tmp_path / "model").write_text("")
    with pytest.raises(ArtifactError, match="not a whole artefact"):
        open_artifact(tmp_path / "model", "model")


@pytest.mark.parametrize(
    "content", ["", "{", "{}", "[]", "null", '"kind"', '{"kind": "model"}', "\x00", "\xff"]
)
def test_a_manifest_that_says_nothing_is_damaged(tmp_path, content):
    manifest = make(tmp_path / "model").path / MANIFEST
    manifest.write_bytes(content.encode("latin-1"))
    with pytest.raises(ArtifactError, match=rf"{manifest} is damaged"):
        open_artifact(tmp_path / "model", "model")
    assert not Recipe("model", CONFIG, INPUTS).find_current(tmp_path / "model")


def test_no_bit_of_a_manifest_can_flip_and_raise_anything_but_our_error(tmp_path):
    manifest = make(tmp_path / "model").path / MANIFEST
    content = manifest.read_bytes()
    rng = random.Random(0)
    for _ in range(300):
        place, bit = rng.randrange(len(content)), rng.randrange(8)
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        manifest.write_bytes(damaged)
        with suppress(ArtifactError):
            open_artifact(tmp_path / "model", "model")


def test_another_schema_is_an_error_that_names_it(tmp_path):
    manifest = make(tmp_path / "model").path / MANIFEST
    manifest.write_text(manifest.read_text().replace('"schema": 2', '"schema": 3'))
    with pytest.raises(ArtifactError, match="has schema 3; this version reads 2"):
        open_artifact(tmp_path / "model", "model")


def test_current_means_the_same_kind_settings_and_inputs(tmp_path):
    make(tmp_path / "model")

    def current(kind="model", config=CONFIG, inputs=INPUTS) -> bool:
        return Recipe(kind, config, inputs).find_current(tmp_path / "model") is not None

    assert current()
    assert not current(kind="index")
    assert not current(config={**CONFIG, "beams": 6})
    assert not current(inputs={"dataset": "f01"})


def test_an_input_of_another_making_is_an_error_that_names_both(tmp_path):
    made = make(tmp_path / "model")
    made.require_input("dataset", "f00", "the data set")
    with pytest.raises(
        ArtifactError,
        match=r"model was made from another dataset \(f00\) than the data set toys \(f01\)",
    ):
        made.require_input("dataset", "f01", "the data set toys")


def interrupted(path: Path, **changes) -> None:
    """Leave a draft with one file behind, as a crash does."""
    with suppress(KeyboardInterrupt), making(path, **changes) as draft:
        draft.write_json("part.json", 1)
        raise KeyboardInterrupt


def test_a_draft_of_the_same_work_is_resumed(tmp_path):
    interrupted(tmp_path / "model")
    with making(tmp_path / "model") as draft:
        assert (draft.path / "part.json").read_text() == "1\n"


@pytest.mark.parametrize(
    "change", [{"config": {"beams": 6}}, {"inputs": {"dataset": "f01"}}, {"kind": "index"}]
)
def test_a_draft_of_other_work_is_emptied(tmp_path, change):
    interrupted(tmp_path / "model", **change)
    with making(tmp_path / "model") as draft:
        assert not (draft.path / "part.json").exists()


def test_scratch_is_removed_before_the_seal(tmp_path):
    with making(tmp_path / "model", scratch=("checkpoint.pt", "temporary")) as draft:
        draft.write_json("checkpoint.pt", 1)
        (draft.path / "temporary").mkdir()
        draft.write_json("temporary/file.json", 1)
        draft.write_json("kept.json", 1)
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["kept.json", MANIFEST]


@pytest.mark.parametrize("content", ['{"name": "a web page"}', "not JSON", "[]"])
def test_a_folder_of_somebody_elses_is_refused_and_kept(tmp_path, content):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / MANIFEST).write_text(content)
    with (
        pytest.raises(ArtifactError, match="other files in it; name a new one"),
        making(theirs),
    ):
        pass
    assert (theirs / MANIFEST).read_text() == content


def test_a_folder_with_other_files_and_a_file_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="other files in it"), making(tmp_path):
        pass
    with pytest.raises(ArtifactError, match="is a file"), making(tmp_path / "notes.txt"):
        pass
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "model").mkdir()
    assert make(tmp_path / "model")


HOLDS = """
import sys
from pathlib import Path
from gloss.artifacts import Recipe
with Recipe("model", {}, {}).draft(Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_write_the_same_artefact(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, tmp_path / "model"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout.readline() == b"ready\n"
        with pytest.raises(ArtifactError, match="another process is writing"):
            make(tmp_path / "model")
        other.stdin.close()
    assert other.returncode == 0
    assert open_artifact(tmp_path / "model", "model").summary == {}


DIES = """
import os, signal, sys
from pathlib import Path
from gloss.artifacts import Recipe
with Recipe("model", {"beams": 6}, {}).draft(Path(sys.argv[1])) as draft:
    draft.write_json("more.json", "half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_in_the_middle_the_old_artefact_stands_and_the_next_run_goes_through(tmp_path):
    old = make(tmp_path / "model")
    killed = subprocess.run([sys.executable, "-c", DIES, tmp_path / "model"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert open_artifact(tmp_path / "model", "model") == old
    with making(tmp_path / "model", config={"beams": 6}, inputs={}) as draft:
        assert (draft.path / "more.json").read_text() == '"half"\n'
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_killed_before_any_write_a_replacement_leaves_the_old_one_or_the_new(processes, tmp_path):
    def prepare(users: int, **named):
        return processes.gloss("prepare", "shop", "-o", path, "--users", users, **named)

    path = tmp_path / "shop"
    assert prepare(31).code == 0
    users = 31
    for moment in range(1, 80):
        wanted = 61 - users % 60  # 30 and 31, in turn
        ended = prepare(wanted, kill_at_write=moment)
        if path.exists():
            assert open_artifact(path, "dataset").summary["users"] in (30, 31)
        if ended.code == 0:
            break
        assert prepare(wanted).code == 0
        users = open_artifact(path, "dataset").summary["users"]
        assert users == wanted
    assert 5 < moment < 79


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    write_atomic(tmp_path / "a.txt", b"old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(ArtifactError, match=r"cannot write .*a.txt: No space left"):
        write_atomic(tmp_path / "a.txt", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"old"


@given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
def test_different_parts_have_different_fingerprints(one, other):
    assert (fingerprint_of(*one) == fingerprint_of(*other)) == (one == other)


def whole_artefacts(folder: Path) -> int:
    """How many artefacts stand in a folder; each must open."""
    manifests = [m for m in folder.rglob(MANIFEST) if ".partial" not in str(m.parent)]
    for manifest in manifests:
        open_artifact(manifest.parent, json.loads(manifest.read_bytes())["kind"])
    return len(manifests)


def fails_in_one_line(ended) -> bool:
    lines = ended.stderr.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert ended.code == 1, ended.stderr
    assert len(errors) == 1, ended.stderr
    assert lines[-1] == errors[0], ended.stderr
    assert "Traceback" not in ended.stderr
    return True


@pytest.fixture
def tiny_disk(tmp_path) -> Iterator[Path]:
    """An empty disk of 16 KiB; remount it for more."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root can mount a small disk")
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_clear_error_and_breaks_nothing(processes, tiny_config, tiny_disk):
    failures = 0
    for kib in range(16, 2000, 48):
        remount = ["mount", "-o", f"remount,size={kib}k", str(tiny_disk)]
        subprocess.run(remount, check=True)
        ended = processes.gloss("run", tiny_config, "-o", tiny_disk / "run")
        whole_artefacts(tiny_disk)
        if not ended.code:
            break
        failures += fails_in_one_line(ended)
        assert "No space left" in ended.stderr
    assert failures > 5
    assert ended.code == 0
    assert whole_artefacts(tiny_disk) == 4 + 3 + 3


@pytest.mark.parametrize("largest_file", [500, 1500, 5000, 20_000, 60_000])
def test_a_file_that_may_not_grow_is_one_clear_error(
    processes, tiny_config, tmp_path, largest_file
):
    ended = processes.gloss("run", tiny_config, "-o", tmp_path / "run", largest_file=largest_file)
    assert fails_in_one_line(ended)
    whole_artefacts(tmp_path)
    assert processes.gloss("run", tiny_config, "-o", tmp_path / "run").code == 0


def test_errors_of_artefacts_are_ours():
    assert issubclass(ArtifactError, GlossError)
