"""A manifest vouches for itself, and names plain files below its folder only."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from gloss.artifacts import MANIFEST, Recipe, open_artifact
from gloss.artifacts.manifest import is_plain
from gloss.errors import ArtifactError


def resealed(path: Path, **changes) -> None:
    """Change a manifest as an attacker would who knows how it is sealed."""
    found = json.loads((path / MANIFEST).read_bytes())
    found.update(changes)
    files = found["files"]
    parts = [found["kind"], *(text for n, each in files.items() for text in (n, each["sha256"]))]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part.encode()).to_bytes(8, "little") + part.encode())
    found["fingerprint"] = digest.hexdigest()
    del found["seal"]
    found["seal"] = hashlib.sha256(json.dumps(found).encode()).hexdigest()
    (path / MANIFEST).write_text(json.dumps(found))


def listed(content: bytes) -> dict[str, object]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("config", {"text": "balls"}),
        ("inputs", {"dataset": "another"}),
        ("summary", {"parameters": 10**12}),
        ("gloss", "9.9.9"),
        ("libraries", {}),
        ("fingerprint", "0" * 64),
        ("seal", "0" * 64),
        ("extra", 1),
    ],
)
def test_a_forged_section_is_damage(tmp_path, make, section, value):
    path = make(tmp_path / "thing").path
    found = json.loads((path / MANIFEST).read_bytes())
    (path / MANIFEST).write_text(json.dumps({**found, section: value}))
    with pytest.raises(ArtifactError, match="is damaged: its content is not what was written"):
        open_artifact(path, "thing")


def test_no_bit_of_a_manifest_can_flip_unseen(tmp_path, make):
    manifest = make(tmp_path / "thing").path / MANIFEST
    content = manifest.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        manifest.write_bytes(damaged)
        try:
            found = open_artifact(tmp_path / "thing", "thing")
        except ArtifactError:
            continue
        # White space between values is all that may differ.
        assert json.loads(damaged) == json.loads(content), (place, found)


@pytest.mark.parametrize(
    "name",
    [
        *("../thing/one.json", "/etc/passwd", "deep/../one.json", "./one.json", ".hidden"),
        *("a//b", "", "deep\\two.json", "a\nb", MANIFEST),
    ],
)
def test_a_name_that_is_not_plain_is_damage_even_sealed(tmp_path, make, name):
    path = make(tmp_path / "thing").path
    resealed(path, files={name: listed(b"")})
    with pytest.raises(ArtifactError, match="is damaged"):
        open_artifact(path, "thing")


def test_plain_names_are_plain():
    for name in ("one.json", "deep/two.json", "network-1/model.safetensors", "Ü ß.txt"):
        assert is_plain(name), name


def test_a_link_out_of_the_folder_is_damage_and_one_within_is_not(tmp_path, make):
    path = make(tmp_path / "thing").path
    content = (path / "one.json").read_bytes()
    (tmp_path / "secret").write_bytes(content)
    (path / "one.json").unlink()
    (path / "one.json").symlink_to("deep/two.json")
    assert open_artifact(path, "thing")
    (path / "one.json").unlink()
    (path / "one.json").symlink_to(tmp_path / "secret")
    with pytest.raises(ArtifactError, match="a link that leads out of the folder"):
        open_artifact(path, "thing")


@pytest.mark.parametrize("name", ["one.json", MANIFEST])
def test_a_fifo_is_an_error_and_nobody_waits_for_it(tmp_path, make, name):
    path = make(tmp_path / "thing").path
    (path / name).unlink()
    os.mkfifo(path / name)
    with pytest.raises(ArtifactError, match=f"{name} is not a regular file"):
        open_artifact(path, "thing")


def test_a_device_is_an_error_and_nobody_reads_it_to_its_end(tmp_path, make):
    path = make(tmp_path / "thing").path
    (path / MANIFEST).unlink()
    (path / MANIFEST).symlink_to("/dev/zero")
    with pytest.raises(ArtifactError, match="not a regular file"):
        open_artifact(path, "thing")


def test_a_manifest_of_gigabytes_is_not_read(tmp_path, make):
    path = make(tmp_path / "thing").path
    with (path / MANIFEST).open("r+b") as file:
        file.truncate(1 << 33)
    with pytest.raises(ArtifactError, match="larger than any of ours"):
        open_artifact(path, "thing")


def test_a_file_that_grew_to_gigabytes_is_damage_before_it_is_read(tmp_path, make):
    path = make(tmp_path / "thing").path
    with (path / "one.json").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(ArtifactError, match=f"{1 << 40} bytes instead of 8"):
        open_artifact(path, "thing")


def test_temporary_and_hidden_files_of_a_writer_are_never_sealed(tmp_path):
    with Recipe("thing", {}, {}).draft(tmp_path / "thing") as draft:
        for name in (".tmpAbC123", "deep/.tmpAbC123", ".cache/x", "deep/kept.json"):
            (draft.path / name).parent.mkdir(exist_ok=True)
            (draft.path / name).write_text("x")
        os.mkfifo(draft.path / "pipe")
        (draft.path / "link").symlink_to("/etc/passwd")
    made = open_artifact(tmp_path / "thing", "thing")
    assert list(made.files) == ["deep/kept.json"]
    assert sorted(p.name for p in made.path.rglob("*")) == ["deep", "kept.json", MANIFEST]


def test_equal_content_of_other_settings_has_one_fingerprint_and_another_seal(tmp_path):
    for name in ("a", "b"):
        with Recipe("thing", {"n": name}, {}).draft(tmp_path / name) as draft:
            draft.write_json("one.json", 1)
    manifests = [json.loads((tmp_path / name / MANIFEST).read_bytes()) for name in ("a", "b")]
    assert manifests[0]["fingerprint"] == manifests[1]["fingerprint"]
    assert manifests[0]["seal"] != manifests[1]["seal"]
