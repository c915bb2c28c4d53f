from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gloss.artifacts import open_artifact
from gloss.errors import GlossError, InputError, UsageError
from gloss.language import hub
from gloss.language.bases import find_base
from gloss.language.loading import load_language_model, load_networks
from hub import COMMIT, Hub
from processes import visible_bytes

NAME = "unsloth/Llama-3.2-1B"


@pytest.fixture(scope="module")
def server(base) -> Iterator[Hub]:
    """A hub with one good model, in whose repository lies what must stay there, and a bad one."""
    good = {path.name: path.read_bytes() for path in base.iterdir()}
    evil = {
        "pytorch_model.bin": b"pickle",
        "modeling_evil.py": b"raise SystemExit",
        "original/consolidated.safetensors": b"elsewhere",
        "training_args.bin": b"pickle",
    }
    files = {NAME: good | evil, "me/pickles": {"config.json": b"{}", "pytorch_model.bin": b"x"}}
    with Hub.serving(files) as serving:
        yield serving


@pytest.fixture(autouse=True)
def here(server, monkeypatch, tmp_path) -> None:
    """An empty folder, that hub, no token, and no cache of anybody's."""
    server.asked.clear()
    server.tokens.clear()
    server.pushed.clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)


def test_a_model_is_fetched_with_its_commit_and_nothing_that_could_run(server, base):
    plan = hub.plan_pull(NAME)
    assert plan.revision == COMMIT
    assert plan.bytes == sum(path.stat().st_size for path in base.iterdir())
    made = hub.pull(plan, Path("models") / NAME)
    assert set(server.fetched()) == {path.name for path in base.iterdir()}
    assert {path.name for path in made.path.iterdir()} == {*plan.sizes, "manifest.json"}
    assert made.config == {"name": NAME, "revision": COMMIT}
    assert server.tokens == {None}


def test_what_was_pulled_is_a_model_and_is_found_by_its_name(base):
    hub.pull(hub.plan_pull(NAME), Path("models") / NAME)
    found = find_base("unsloth/llama-3.2-1b-unsloth-bnb-4bit")
    assert (found.folder, found.revision) == (Path("models") / NAME, COMMIT)
    assert found.fingerprint() == find_base(str(base)).fingerprint()
    pulled = load_language_model(found.folder, device="cpu")
    original = load_language_model(base, device="cpu")
    assert pulled.artifact is None
    for ours, theirs in zip(pulled.model.parameters(), original.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_damage_to_what_was_pulled_is_found(base):
    made = hub.pull(hub.plan_pull(NAME), Path("pulled"))
    (made.path / "config.json").write_text("{}")
    with pytest.raises(GlossError, match=r"config\.json is damaged"):
        load_language_model(made.path, device="cpu")


def test_an_interrupted_pull_goes_on(server, monkeypatch):
    plan = hub.plan_pull(NAME)

    def stop(done: int, total: int | None, note: str = "") -> None:
        if note == "model.safetensors" and done < plan.bytes and note in server.fetched():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.pull(plan, Path("pulled"), progress=stop)
    before = server.fetched()
    assert "model.safetensors" in before
    hub.pull(plan, Path("pulled"))
    after = server.fetched()[len(before) :]
    assert after
    assert "model.safetensors" not in after
    assert open_artifact(Path("pulled"), hub.BASE_KIND).summary["bytes"] == plan.bytes


def test_training_fetches_a_base_that_is_not_here_and_remembers_its_commit(server, base):
    found = find_base(NAME, download=True)
    assert (found.name, found.revision) == (NAME, COMMIT)
    assert not {name for name in server.fetched() if name.endswith((".bin", ".py"))}
    server.asked.clear()
    assert find_base(NAME) == found
    assert find_base(NAME, revision=COMMIT) == found
    assert server.asked == []
    assert found.fingerprint() == find_base(str(base)).fingerprint()


@pytest.mark.parametrize(
    ("name", "said"),
    [("me/pickles", "has no weights as safetensors"), ("me/nothing", "me/nothing cannot be found")],
)
def test_what_cannot_be_had_is_one_clear_line(server, name, said):
    with pytest.raises(InputError, match=said) as caught:
        hub.plan_pull(name)
    assert "\n" not in str(caught.value)
    assert server.fetched() == []


def test_a_hub_that_does_not_answer_is_one_clear_line_with_what_to_do_instead(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    said = rf"{NAME} cannot be found on the hub: .*put its config\.json.* into models/{NAME}"
    with pytest.raises(InputError, match=said) as caught:
        hub.plan_pull(NAME)
    assert "\n" not in str(caught.value)


def test_pushing_needs_a_token_in_the_environment(server, adapter):
    with pytest.raises(UsageError, match="HF_TOKEN"):
        hub.push(adapter, "me/toys")
    assert server.asked == []


def test_an_adapter_is_pushed_with_its_card_and_manifest(server, adapter, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.push(adapter, "me/toys")
    assert server.pushed == {path.name: path.read_bytes() for path in adapter.iterdir()}
    assert server.private[-1] is True
    assert "Bearer hf_secret" in server.tokens


def test_networks_of_an_ensemble_are_pushed_and_pulled(server, base, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    two = tmp_path / "two"
    shutil.copytree(base, two)
    (two / "network-1").mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(base / name, two / "network-1")
    (two / "losses-1.jsonl").write_text("{}\n")
    hub.push(two, "me/two")
    assert server.pushed == visible_bytes(two)
    evil = {"network-1/evil.py": b"exit()", "network-1/deep/config.json": b"{}"}
    monkeypatch.setitem(server.files, "me/two", server.pushed | evil)
    made = hub.pull(hub.plan_pull("me/two"), Path("pulled"))
    assert visible_bytes(made.path).keys() == server.pushed.keys() - {"losses-1.jsonl"} | {
        "manifest.json"
    }
    assert len(load_networks(made.path, device="cpu")) == 2


def test_a_folder_without_a_model_is_not_pushed(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds no model"):
        hub.push(tmp_path, "me/toys")
    assert server.asked == []
