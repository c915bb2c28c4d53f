"""A reader reads one version, and only what the manifest lists."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gloss.artifacts import (
    Artifact,
    Recipe,
    listing_in,
    manifest,
    open_artifact,
    read_artifact,
    reading,
)
from gloss.artifacts.manifest import content_of_manifest
from gloss.data.dataset import Dataset
from gloss.data.generations import read_generations
from gloss.errors import ArtifactError, BeingReplacedError, UsageError
from gloss.retrieval.index import load_index


def test_a_file_that_is_not_listed_is_not_there(tmp_path, make):
    made = make(tmp_path / "thing")
    (made.path / "notes.json").write_text("{}")
    assert open_artifact(made.path, "thing") == made
    with pytest.raises(ArtifactError, match=r"has no notes\.json: its manifest does not list it"):
        made.file("notes.json")
    assert made.matching("*.json") == ("deep/two.json", "of-kites.json", "one.json")


def test_libraries_that_look_around_are_shown_what_is_listed(tmp_path, make):
    made = make(tmp_path / "thing")
    with made.folder() as folder:
        assert folder == made.path
    (made.path / "special_tokens_map.json").write_text("{}")
    (made.path / "network-2").mkdir()
    with made.folder() as folder:
        names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))
        assert names == ["deep", "deep/two.json", "of-kites.json", "one.json"]
        assert (folder / "one.json").read_text() == '"kites"\n'
    assert (made.path / "special_tokens_map.json").is_file()


def test_what_is_read_while_it_is_replaced_is_an_error_to_try_again(tmp_path, make):
    made = make(tmp_path / "thing")
    replaced = "was replaced while it was read: try again"
    with pytest.raises(BeingReplacedError, match=replaced), made.reading():
        make(made.path, "balls")
    with pytest.raises(BeingReplacedError), made.reading():
        made.file("of-kites.json").read_bytes()  # gone, and that is why


def test_an_equal_version_that_came_later_is_another_one(tmp_path, make):
    made = make(tmp_path / "thing")
    make(made.path, "balls")
    assert make(made.path) == made
    with pytest.raises(BeingReplacedError), made.reading():
        pass


def test_what_a_reader_cannot_take_is_an_error_that_names_the_artefact(tmp_path, make):
    made = make(tmp_path / "thing").path
    with pytest.raises(ArtifactError, match=r"thing holds what cannot be read: division by zero"):
        read_artifact(made, "thing", lambda _: 1 / 0)


@pytest.mark.parametrize(
    "error", [UsageError("no such item"), OSError("disk"), KeyboardInterrupt()]
)
def test_an_error_on_purpose_or_of_the_system_stays_what_it_is(tmp_path, make, error):
    def read(_: Artifact) -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        read_artifact(make(tmp_path / "thing").path, "thing", read)
    assert raised.value is error


def test_a_replacement_or_two_are_read_past(tmp_path, make):
    path, texts = make(tmp_path / "thing").path, iter(["balls", "caps"])

    def read(artifact: Artifact) -> str:
        text = next(texts, None)
        if text:
            make(path, text)
        return str(json.loads(artifact.file("one.json").read_bytes()))

    assert read_artifact(path, "thing", read) == "caps"


def test_replaced_again_and_again_it_says_so(tmp_path, make):
    path = make(tmp_path / "thing").path
    with pytest.raises(BeingReplacedError, match="try again"):
        read_artifact(path, "thing", lambda artifact: make(path, artifact.config["text"] + "x"))


CHANGES = """
import sys
from pathlib import Path
from gloss.artifacts import Recipe
for number in range(int(sys.argv[2])):
    text = f"{number % 2}" * 1000
    with Recipe("thing", {"text": text}, {}).draft(Path(sys.argv[1])) as draft:
        for name in ("one.json", "two.json", f"of-{number % 2}.json"):
            draft.write_json(name, text)
"""


@pytest.mark.parametrize("disk", ["same", "volume"])
def test_a_reader_during_changes_sees_whole_versions_or_is_told(request, tmp_path, disk):
    path = request.getfixturevalue("volume") if disk == "volume" else tmp_path / "thing"
    subprocess.run([sys.executable, "-c", CHANGES, path, "1"], check=True)

    def read(artifact: Artifact) -> set[str]:
        return {json.loads(artifact.file(name).read_bytes()) for name in artifact.files}

    whole = told = 0
    with subprocess.Popen([sys.executable, "-c", CHANGES, path, "60"]) as writer:
        while writer.poll() is None:
            try:
                found = read_artifact(path, "thing", lambda artifact: (artifact, read(artifact)))
                assert found[1] == {found[0].config["text"]}
                whole += 1
            except BeingReplacedError:
                told += 1
    assert writer.returncode == 0
    assert whole > 30, (whole, told)


@pytest.mark.parametrize("disk", ["same", "volume"])
def test_a_version_that_comes_between_two_looks_is_read(request, tmp_path, make, monkeypatch, disk):
    path = request.getfixturevalue("volume") if disk == "volume" else tmp_path / "thing"
    make(path)
    gone = iter(["balls"])

    def of_manifest(where: Path) -> bytes:
        for text in gone:  # the first look meets the moment in which no manifest stands
            make(path, text)
            raise FileNotFoundError(where)
        return content_of_manifest(where)

    monkeypatch.setattr(reading, "content_of_manifest", of_manifest)
    assert open_artifact(path, "thing").config == {"text": "balls"}


def test_a_disk_that_fails_is_not_a_missing_manifest(tmp_path, make, monkeypatch):
    path = make(tmp_path / "thing").path

    def fails(_: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(manifest, "content_of_manifest", fails)
    with pytest.raises(OSError, match="Input/output error"):
        listing_in(path)


def test_further_shards_are_not_read(run, tmp_path):
    generations = shutil.copytree(run.generations, tmp_path / "generations")
    whole = read_generations(generations)
    shutil.copy(generations / "part-00000.jsonl", generations / "part-99999.jsonl")
    assert read_generations(generations) == whole


def test_a_further_network_does_not_join_and_special_tokens_change_nothing(run, tmp_path):
    from gloss.language.loading import load_networks

    model = shutil.copytree(run.model, tmp_path / "model")
    (model / "network-1").mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(model / name, model / "network-1" / name)
    (model / "special_tokens_map.json").write_text('{"eos_token": "a"}')
    (model / "added_tokens.json").write_text('{"<evil>": 99999}')
    (model / "adapter_config.json").write_text("{}")
    (first,) = load_networks(model, device="cpu")
    (untouched,) = load_networks(run.model, device="cpu")
    assert first.tokenizer.eos_token == untouched.tokenizer.eos_token == "\n"
    assert len(first.tokenizer) == len(untouched.tokenizer)
    assert sorted(first.model.state_dict()) == sorted(untouched.model.state_dict())


def test_a_faiss_index_that_is_not_listed_is_not_searched(tmp_path, make, minilm):
    from gloss.retrieval.dense.retriever import Dense
    from gloss.retrieval.settings import DenseSettings

    with Recipe("index", {}, {}).draft(tmp_path / "index") as draft:
        np.save(draft.path / "vectors.npy", np.eye(2, dtype=np.float32))
    artifact = open_artifact(tmp_path / "index", "index")
    (artifact.path / "neighbours.faiss").write_bytes(b"whatever a native reader makes of it")
    from gloss.data.catalogue import Catalogue, Item

    items = Catalogue([Item("a", "Kite"), Item("b", "Ball")])
    loaded = Dense.load(artifact, items, DenseSettings())
    assert loaded.title_vectors.shape == (2, 2)


def test_a_data_set_that_was_replaced_is_not_read_on(run, tmp_path):
    data = Dataset.load(shutil.copytree(run.data, tmp_path / "data"))
    other = shutil.copytree(run.data, tmp_path / "other")
    shutil.rmtree(data.path)
    Path(other).rename(data.path)
    (data.path / "manifest.json").touch()
    with pytest.raises(BeingReplacedError):
        data.train()


def test_an_index_is_read_as_one_version(run, tmp_path, processes):
    """Catalogue and matrix must be of one index, while items come and go."""
    index = shutil.copytree(run.index, tmp_path / "index")
    count = len(load_index(index).catalogue)
    for number in range(3):
        call = ("items", "add", "-i", index, "--item", f"new-{number}", "--title", "Red kite")
        ended = processes.gloss(*call, "-o", index)
        assert ended.code == 0, ended.stderr
        found = load_index(index)
        assert len(found.catalogue) == count + number + 1
        assert found.retriever.search(["Red kite"], 50)[0]
