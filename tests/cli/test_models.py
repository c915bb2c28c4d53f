"""Pretrained models on the command line: fine-tuned, decoded with, fetched, merged, published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gloss.artifacts import open_artifact
from gloss.data.generations import read_generations
from hub import COMMIT, Hub

WRONG_CALL, FAILURE = 2, 1
NAME = "someone/tiny"
pytestmark = pytest.mark.filterwarnings("ignore:decoding takes the slower path:RuntimeWarning")


@pytest.fixture
def config(run, tmp_path) -> Path:
    """An adapter on the model of the finished run: any causal language model is a base."""
    settings = {
        "name": "tiny-lora",
        "data": {"source": "shop", "users": 60},
        "model": {"recipe": "lora", "base": str(run.model), "quantization": "none", "rank": 2},
        "training": {
            "epochs": 1,
            "batch": 16,
            "accumulation": 1,
            "sequence": 384,
            "warmup_steps": 0,
            "optimizer": "adamw",
            "packing": True,
            "gradient_checkpointing": "never",
        },
        "decoding": {"beams": 2},
    }
    path = tmp_path / "lora.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture
def hub(monkeypatch) -> Iterator[Hub]:
    content = {"config.json": b"{}", "model.safetensors": b"weights", "evil.py": b"exit()"}
    with Hub.serving({NAME: content}) as serving:
        monkeypatch.setenv("HF_ENDPOINT", serving.address)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield serving


def test_an_adapter_goes_the_whole_way_and_can_be_made_whole(done, config):
    done("run", config, "-o", "run", "--json")
    made = open_artifact(Path("run/model"), "model")
    assert made.summary["examples"] == 60
    assert "adapter_config.json" in {path.name for path in made.path.iterdir()}
    done("models", "merge", "run/model", "-o", "whole")
    few = ("-d", "run/data", "--beams", 2, "--limit-users", 3)
    for name, model, options in (
        ("merged", "run/model", ()),
        ("apart", "run/model", ("--keep-adapters",)),
        ("whole-too", "whole", ()),
    ):
        done("generate", "-m", model, "-o", name, *few, *options)
    texts = [
        [[query.text for query in each.queries] for each in read_generations(Path(name))]
        for name in ("merged", "apart", "whole-too")
    ]
    assert texts[0] == texts[1] == texts[2]
    assert len(texts[0]) == 3


def test_a_dry_run_counts_and_does_nothing(done, run, config):
    said = done("train", config, "-d", run.data, "-o", "model", "--dry-run", "--json")
    expected = json.loads(said.out)
    assert expected["training examples"] == 300
    assert expected["steps an epoch"] == -(-300 // 16)
    # rank 2 x (in + out): q, k, v, o of 64 x 64, gate, up, down of 64 x 256, in two layers
    assert expected["trainable parameters"] == 2 * 2 * (4 * 128 + 3 * 320)
    assert not Path("model").exists()
    scratch = done("train", run.config, "-d", run.data, "-o", "model", "--dry-run", "--json")
    assert json.loads(scratch.out)["training users"] == 300
    assert not Path("model").exists()


@pytest.mark.parametrize(
    ("override", "said", "code"),
    [
        ("model.base=./nowhere", "nowhere is not a model folder", FAILURE),
        ("model.base=nobody/nothing", "nobody/nothing cannot be found", FAILURE),
        ("model.targets=[nothing]", "no adapter fits model", FAILURE),
        ("training.sequence=9", "cannot hold", WRONG_CALL),
        ("training.packing=maybe", "training.packing", WRONG_CALL),
    ],
)
def test_what_cannot_be_trained_is_one_line(gloss, run, hub, config, override, said, code):
    failed = gloss("train", config, override, "-d", run.data, "-o", "model")
    assert said in failed.error
    assert failed.code == code
    assert not Path("model").exists()


def test_a_backend_for_adapters_trains_no_model_from_zero(gloss, run):
    call = ("train", run.config, "-d", run.data, "-o", "model", "--backend", "unsloth")
    assert "trains adapters only" in gloss(*call).error


def test_a_model_is_fetched_after_its_size_was_said(done, hub):
    said = done("models", "pull", NAME, "--json")
    assert "2 files, 0.0 MB" in said.err
    assert json.loads(said.out)["revision"] == COMMIT
    assert open_artifact(Path("models") / NAME, "base").config["name"] == NAME
    assert "evil.py" not in hub.fetched()
    planned = json.loads(done("models", "pull", NAME, "--dry-run", "--json").out)
    assert planned == {"revision": COMMIT, "config.json": 2, "model.safetensors": 7}


def test_a_model_is_pushed_only_when_that_is_said(done, gloss, hub, monkeypatch):
    done("models", "pull", NAME, "-o", "mine", "--json")
    hub.asked.clear()
    planned = json.loads(done("models", "push", "mine", "me/mine", "--json").out)
    assert planned.keys() == {"config.json", "model.safetensors", "manifest.json"}
    assert "HF_TOKEN" in gloss("models", "push", "mine", "me/mine", "--yes").error
    assert hub.asked == []
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    said = done("models", "push", "mine", "me/mine", "--yes")
    assert hub.pushed.keys() == planned.keys()
    assert "hf_secret" not in said.out + said.err


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("models", "pull", "someone/nothing"), "someone/nothing cannot be found"),
        (("models", "push", ".", "me/mine"), "holds no model"),
        (("models", "merge", ".", "-o", "x"), "is not a model folder"),
    ],
)
def test_what_cannot_be_done_is_one_line(gloss, hub, call, said):
    failed = gloss(*call)
    assert said in failed.error
    assert failed.code == FAILURE


def test_a_path_is_not_fetched(gloss, hub):
    for path in ("./models/x", "x"):
        assert gloss("models", "pull", path).code == WRONG_CALL
    assert hub.asked == []
