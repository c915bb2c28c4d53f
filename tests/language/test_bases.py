from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gloss.errors import InputError
from gloss.language import bases
from gloss.language.bases import find_base, is_hub_name

NAME = "unsloth/Llama-3.2-1B"


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path) -> None:
    """An empty folder, and a hub that must not be asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(bases, "fetch", _never)


def _never(name: str, *_: object, **__: object) -> Path:
    raise AssertionError(f"{name} would have been downloaded")


@pytest.mark.parametrize(
    "path",
    [
        "./toys/llama",
        "../toys/llama",
        "/models/llama",
        "~/llama",
        "a/b/c",
        "gpt2",
        "models/llama",
        "..",
        "toys\\llama",
        "a/b c",
        "",
    ],
)
def test_what_looks_like_a_path_is_never_downloaded(path):
    Path("models").mkdir()
    assert not is_hub_name(path)
    with pytest.raises(InputError, match=r"is not a model folder: it has no config\.json"):
        find_base(path, download=True)


def test_a_name_of_the_hub_is_an_organisation_and_a_model():
    assert is_hub_name(NAME)
    Path("unsloth").mkdir()
    assert not is_hub_name(NAME)


@pytest.mark.parametrize("name", [NAME, f"{NAME}-bnb-4bit", f"{NAME}-unsloth-bnb-4bit"])
def test_what_is_not_here_is_told_with_its_files_and_their_place(name):
    with pytest.raises(InputError) as caught:
        find_base(name)
    said = str(caught.value)
    assert f"gloss models pull {NAME}`" in said
    for part in ("config.json", "*.safetensors", "tokenizer.json", f"into models/{NAME}", "folder"):
        assert part in said
    assert "\n" not in said


def test_files_that_were_put_there_by_hand_are_found(base):
    shutil.copytree(base, Path("models") / NAME)
    found = find_base(NAME)
    assert (found.folder, found.name, found.revision) == (Path("models") / NAME, NAME, None)


def test_files_of_an_unknown_commit_do_not_pass_for_a_pinned_one(base):
    shutil.copytree(base, Path("models") / NAME)
    with pytest.raises(InputError, match="is not on this machine"):
        find_base(NAME, revision="0" * 40)


def test_weights_of_another_format_are_refused(base):
    theirs = shutil.copytree(base, "theirs")
    Path(theirs, "model.safetensors").rename(Path(theirs, "pytorch_model.bin"))
    with pytest.raises(InputError, match="has no weights as safetensors"):
        find_base("./theirs")


def test_one_bit_of_the_weights_makes_another_base(base):
    theirs = Path(shutil.copytree(base, "theirs"))
    assert find_base("./theirs").fingerprint() == find_base(str(base)).fingerprint()
    content = bytearray((theirs / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (theirs / "model.safetensors").write_bytes(content)
    assert find_base("./theirs").fingerprint() != find_base(str(base)).fingerprint()
