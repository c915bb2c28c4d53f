from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from gloss.artifacts import MANIFEST
from gloss.errors import ArtifactError, GlossError, InputError
from gloss.language.loading import load_language_model, model_artifact
from gloss.prompts import PAPER_TEMPLATE, TITLES_ONLY

TITLE = "Okumi Loose Leaf Tea, Jasmine Green, 125 g"


@pytest.fixture
def ours(run, tmp_path) -> Path:
    """A copy of our model folder."""
    return shutil.copytree(run.model, tmp_path / "model")


@pytest.fixture
def theirs(ours) -> Path:
    """The same as a folder of another origin: without a manifest."""
    (ours / MANIFEST).unlink()
    return ours


def test_our_folder_is_an_ordinary_one(run, language):
    model = AutoModelForCausalLM.from_pretrained(run.model, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(run.model)
    ids = tokenizer(f"\n{TITLE}\n")["input_ids"]
    assert ids == language.tokenizer(f"\n{TITLE}\n")["input_ids"]
    assert tokenizer.decode(ids) == f"\n{TITLE}\n"
    assert tokenizer.eos_token == "\n"
    with torch.inference_mode():
        tokens = torch.tensor([ids])
        assert torch.equal(model(tokens).logits, language.model(tokens).logits)


def test_our_folder_remembers_template_and_manifest(run, language):
    assert language.template == TITLES_ONLY
    assert language.artifact == model_artifact(run.model)
    assert not language.model.training


def test_a_folder_of_another_origin_speaks_the_papers_template(theirs):
    (theirs / "prompt.json").unlink()
    loaded = load_language_model(theirs, device="cpu")
    assert loaded.artifact is None
    assert loaded.template == PAPER_TEMPLATE


@pytest.mark.parametrize("name", ["gpt2", "nowhere/at/all"])
def test_a_folder_that_is_not_there_is_an_error_and_no_download(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"{name} is not a model folder: it has no config.json"):
        load_language_model(Path(name))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def garbage(file: Path) -> None:
    file.write_bytes(random.Random(0).randbytes(1000))


def plain_json(file: Path) -> None:
    file.write_text("{}")


def other_json(file: Path) -> None:
    file.write_text('["a", 1]')


DAMAGES = [cut, empty, garbage, plain_json, other_json, Path.unlink]
FILES = ["model.safetensors", "config.json", "tokenizer.json", "prompt.json"]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_damage_to_our_folder_is_found_by_its_manifest(ours, name, damage):
    damage(ours / name)
    with pytest.raises(GlossError, match=rf"{name} is (damaged|missing)|no config.json") as caught:
        load_language_model(ours, device="cpu")
    assert isinstance(caught.value, ArtifactError | InputError)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_damage_to_another_folder_is_one_clear_line(theirs, name, damage):
    if (name, damage) == ("prompt.json", Path.unlink):
        pytest.skip("nobody else has a template")
    damage(theirs / name)
    with pytest.raises((ArtifactError, InputError)) as caught:
        load_language_model(theirs, device="cpu")
    assert str(theirs) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_that_are_missing_are_not_made_up(theirs):
    weights = load_file(theirs / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, theirs / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"without model\.layers\.1\.mlp\.up_proj\.weight"):
        load_language_model(theirs, device="cpu")


def test_weights_of_another_shape_are_an_error(theirs):
    config = json.loads((theirs / "config.json").read_text())
    (theirs / "config.json").write_text(json.dumps({**config, "intermediate_size": 99}))
    with pytest.raises(InputError, match="cannot be loaded as a model"):
        load_language_model(theirs, device="cpu")


def test_pickled_weights_are_refused(theirs):
    torch.save(load_file(theirs / "model.safetensors"), theirs / "pytorch_model.bin")
    (theirs / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no weights as safetensors; other formats are not loaded"):
        load_language_model(theirs, device="cpu")


def test_a_folder_that_brings_its_own_code_is_refused(theirs):
    config = json.loads((theirs / "config.json").read_text())
    code = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    config |= {"auto_map": code, "model_type": "evil"}
    (theirs / "config.json").write_text(json.dumps(config))
    (theirs / "evil.py").write_text(f"open({str(theirs / 'done')!r}, 'w')")
    with pytest.raises(InputError, match="cannot be loaded as a model"):
        load_language_model(theirs, device="cpu")
    assert not (theirs / "done").exists()
