from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from gloss.artifacts import open_artifact
from gloss.config import AS_IT_IS, Decoding, Loading
from gloss.data.generations import read_generations
from gloss.errors import ArtifactError, ConfigError, GlossError, MissingExtraError, UsageError
from gloss.experiment import stages
from gloss.language.loading import load_language_model
from gloss.language.lora import checkpoints
from gloss.prompts import PAPER_TEMPLATE
from processes import visible_bytes
from tiny_llama import TRAINING

pytestmark = pytest.mark.usefixtures("alone")
WEIGHTS = "adapter_model.safetensors"
CURVE = 1e-5


def trained(shop, lora, out: Path, training=TRAINING, **options) -> Path:
    made = stages.train(
        shop.path, out, model=lora, training=training, titles="paper", seed=1, **options
    )
    return made.path


def curve(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]


def logits(language, text: str = "Title: Kite\n") -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = language.model(
            **language.tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        ).logits
    return found


def test_an_adapter_its_tokenizer_template_card_and_manifest_are_one_artefact(adapter, shop, base):
    assert {path.name for path in adapter.iterdir()} == {
        "README.md",
        "adapter_config.json",
        WEIGHTS,
        "losses.jsonl",
        "manifest.json",
        "prompt.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    made = open_artifact(adapter, "model")
    assert made.inputs["dataset"] == shop.fingerprint
    assert made.config["model"]["base"] == base.name
    settings = json.loads((adapter / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(base)
    assert settings["target_modules"] == sorted(settings["target_modules"])
    # rank x (in + out) of q, k, v, o and gate, up, down, in two layers
    shapes = [(64, 64), (64, 32), (64, 32), (64, 64), (64, 128), (64, 128), (128, 64)]
    assert made.summary["trainable parameters"] == 2 * 4 * sum(map(sum, shapes))


def test_the_card_names_data_recipe_and_losses(adapter):
    made = open_artifact(adapter, "model")
    _, front, text = (adapter / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "peft"
    assert "`synthetic shop`, split `paper`, titles `paper`" in text
    for row in ("| rank | 4 |", "| loss_on | completion |", "| seed | 1 |"):
        assert row in text
    assert f"| validation_loss | {made.summary['validation_loss']:.4f} |" in text


def test_the_loss_falls_and_the_best_epoch_is_kept(adapter):
    losses = [row["validation_loss"] for row in curve(adapter) if "validation_loss" in row]
    assert len(losses) == TRAINING.epochs
    summary = open_artifact(adapter, "model").summary
    assert summary["validation_loss"] == min(losses) < losses[0]
    assert summary["steps"] == 3 * 5  # 40 examples, 8 a step


def test_merged_and_apart_an_adapter_says_the_same(adapter, base):
    merged = load_language_model(adapter, device="cpu")
    apart = load_language_model(adapter, device="cpu", loading=Loading(keep_adapters=True))
    plain = load_language_model(base, device="cpu")
    assert type(merged.model) is type(plain.model)
    assert merged.template == PAPER_TEMPLATE
    torch.testing.assert_close(logits(merged), logits(apart), rtol=0, atol=1e-5)
    assert (logits(merged) - logits(plain)).abs().max() > 0.1
    # What the fast path of decoding asks, so that it never takes the base for all there is.
    assert not getattr(merged.model, "_hf_peft_config_loaded", False)
    assert apart.model._hf_peft_config_loaded


def test_an_adapter_merged_into_a_folder_loads_as_a_whole_model(adapter, tmp_path):
    made = stages.merge(adapter, tmp_path / "whole")
    whole = load_language_model(made.path, device="cpu")
    assert made.config == open_artifact(adapter, "model").config
    assert torch.equal(logits(whole), logits(load_language_model(adapter, device="cpu")))


@pytest.mark.filterwarnings("ignore:decoding takes the slower path:RuntimeWarning")
def test_an_adapter_decodes_inside_the_catalogue(adapter, shop, tmp_path):
    settings = Decoding(beams=3)
    options = {"split": "test", "settings": settings, "limit_users": 2}
    stages.generate(adapter, shop.path, tmp_path / "merged", **options)
    made = stages.generate(
        adapter, shop.path, tmp_path / "apart", loading=Loading(keep_adapters=True), **options
    )
    assert made.inputs["base"] == open_artifact(adapter, "model").inputs["base"]
    titles = set(shop.catalogue("paper").titles)
    merged, apart = read_generations(tmp_path / "merged"), read_generations(tmp_path / "apart")
    assert [[q.text for q in g.queries] for g in merged] == [
        [q.text for q in g.queries] for g in apart
    ]
    assert all(query.text in titles for each in merged for query in each.queries)


def test_padded_and_packed_training_have_the_same_curve(shop, lora, adapter, tmp_path):
    padded = TRAINING.model_copy(update={"packing": False, "gradient_checkpointing": "always"})
    found = curve(trained(shop, lora, tmp_path / "padded", padded))
    for ours, theirs in zip(curve(adapter), found, strict=True):
        assert ours == pytest.approx(theirs, abs=CURVE)


def test_weights_of_four_bits_are_trained_on_and_decoded_with(shop, lora, adapter, tmp_path):
    model = lora.model_copy(update={"quantization": "nf4"})
    training = TRAINING.model_copy(update={"optimizer": "adamw-8bit", "epochs": 2})
    made = trained(shop, model, tmp_path / "qlora", training)
    losses = [row["validation_loss"] for row in curve(made) if "validation_loss" in row]
    assert losses[1] < losses[0]
    whole = open_artifact(adapter, "model").summary["parameters"]
    assert open_artifact(made, "model").summary["parameters"] == whole
    four = load_language_model(made, device="cpu", loading=Loading(quantization="nf4"))
    exact = load_language_model(made, device="cpu", loading=AS_IT_IS)
    assert four.model._hf_peft_config_loaded
    difference = (logits(four) - logits(exact)).abs().mean() / logits(exact).abs().mean()
    assert 0 < difference < 0.3


def test_without_better_losses_it_stops_and_keeps_the_best(shop, lora, tmp_path):
    still = {"learning_rate": 1e-30, "patience": 1, "epochs": 6}
    made = trained(shop, lora, tmp_path / "a", TRAINING.model_copy(update=still))
    losses = [row["validation_loss"] for row in curve(made) if "validation_loss" in row]
    assert len(losses) == 2
    assert losses[0] == losses[1]
    assert open_artifact(made, "model").summary["kept step"] == 5


def test_without_validation_users_the_last_is_kept(shop, lora, tmp_path):
    training = TRAINING.model_copy(update={"validation_users": 0, "epochs": 1})
    made = trained(shop, lora, tmp_path / "a", training)
    assert open_artifact(made, "model").summary["kept step"] == 5
    assert not [row for row in curve(made) if "validation_loss" in row]


class Interrupted(Exception):
    pass


def stopping_at(step: int):
    def progress(done: int, total: int | None, note: str = "") -> None:
        if done == step:
            raise Interrupted

    return progress


def test_interrupted_again_and_again_it_ends_with_the_same_bytes(
    shop, lora, adapter, tmp_path, monkeypatch
):
    # Saved wherever the loss is logged, not only after an epoch.
    monkeypatch.setattr("gloss.language.lora.callbacks._CHECKPOINT_SECONDS", -1.0)
    for step in (4, 13):
        with pytest.raises(Interrupted):
            trained(shop, lora, tmp_path / "adapter", progress=stopping_at(step))
    assert checkpoints.latest(tmp_path / ".adapter.partial" / "checkpoints") is not None
    made = trained(shop, lora, tmp_path / "adapter")
    assert visible_bytes(made) == visible_bytes(adapter)


@pytest.fixture
def config(base, tmp_path) -> Path:
    settings = {
        "name": "tiny",
        "seed": 1,
        "protocol": "paper",
        "data": {"source": "shop", "users": 40, "seed": 1},
        "model": {
            "recipe": "lora",
            "base": str(base),
            "quantization": "none",
            "rank": 4,
            "alpha": 8,
        },
        "training": TRAINING.model_dump(mode="json"),
        "decoding": {"beams": 3},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_killed_again_and_again_it_ends_with_the_same_bytes(
    processes, config, shop, adapter, tmp_path
):
    call = ("train", config, "-d", shop.path, "-o", tmp_path / "adapter")
    # In the middle of the first checkpoint, then of removing one.
    for moment in (13, 24):
        assert processes.gloss(*call, kill_at_write=moment).code is None
    ended = processes.gloss(*call)
    assert ended.code == 0, ended.stderr
    assert visible_bytes(tmp_path / "adapter") == visible_bytes(adapter)


def test_what_was_not_written_to_its_end_does_not_count(tmp_path):
    for step, whole in ((5, True), (10, True), (15, False)):
        folder = checkpoints.checkpoint_of(tmp_path, step)
        folder.mkdir()
        if whole:
            checkpoints.mark(folder)
    assert checkpoints.latest(tmp_path) == tmp_path / "checkpoint-10"
    checkpoints.keep_only(tmp_path, [10, 15])
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]


@pytest.mark.parametrize(
    ("losses", "patience", "done"),
    [
        ([], 1, False),
        ([3.0], 1, False),
        ([3.0, 2.0], 1, False),
        ([3.0, 3.0], 1, True),
        ([3.0, 4.0], 2, False),
        ([3.0, 4.0, 3.5], 2, True),
        ([3.0, 4.0, 2.0, 5.0], 2, False),
        ([3.0, 2.0, 1.0, 0.5, 0.4, 0.3], 9, True),
    ],
)
def test_it_stops_after_all_epochs_or_when_patience_is_over(losses, patience, done):
    history = [{"step": step, "eval_loss": loss} for step, loss in enumerate(losses, 1)]
    assert checkpoints.is_done(history, patience=patience, epochs=6) == done


def test_another_base_model_is_refused(adapter, base, tmp_path):
    other = shutil.copytree(base, tmp_path / "other")
    weights = other / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ArtifactError, match="was made from another base") as caught:
        load_language_model(adapter, device="cpu", loading=Loading(base=other))
    assert str(other) in str(caught.value)


def test_the_same_base_model_may_lie_elsewhere(adapter, base, tmp_path):
    moved = shutil.copytree(base, tmp_path / "moved")
    there = load_language_model(adapter, device="cpu", loading=Loading(base=moved))
    assert torch.equal(logits(there), logits(load_language_model(adapter, device="cpu")))


def test_an_adapter_as_the_hub_has_them_loads(adapter, base, tmp_path):
    """Without our files, on a base of which only the name is known."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    shutil.copy(adapter / WEIGHTS, theirs)
    settings = json.loads((adapter / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "unsloth/llama-3.2-1b-unsloth-bnb-4bit"
    (theirs / "adapter_config.json").write_text(json.dumps(settings))
    there = load_language_model(theirs, device="cpu", loading=Loading(base=base))
    assert there.artifact is None
    assert there.template == PAPER_TEMPLATE
    assert torch.equal(logits(there), logits(load_language_model(adapter, device="cpu")))


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"base_model_name_or_path": 3}'])
def test_damaged_settings_of_an_adapter_are_one_clear_line(adapter, tmp_path, damage):
    theirs = shutil.copytree(adapter, tmp_path / "a")
    (theirs / "manifest.json").unlink()
    (theirs / "adapter_config.json").write_text(damage)
    with pytest.raises(GlossError, match=r"adapter_config\.json") as caught:
        load_language_model(theirs, device="cpu")
    assert "\n" not in str(caught.value)


def test_an_adapter_of_another_shape_is_refused(adapter, base, tmp_path):
    theirs = shutil.copytree(adapter, tmp_path / "a")
    (theirs / "manifest.json").unlink()
    settings = json.loads((theirs / "adapter_config.json").read_text())
    for change in ({"r": 8}, {"target_modules": ["q_proj"]}):
        (theirs / "adapter_config.json").write_text(json.dumps({**settings, **change}))
        with pytest.raises(GlossError, match="is no adapter of this base model"):
            load_language_model(theirs, device="cpu")


def test_unsloth_is_an_extra_that_pads(shop, lora, tmp_path, monkeypatch):
    padded = TRAINING.model_copy(update={"packing": False})
    with pytest.raises(ConfigError, match="padded batches only"):
        trained(shop, lora, tmp_path / "a", backend="unsloth")
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[unsloth\]"'):
        trained(shop, lora, tmp_path / "a", padded, backend="unsloth")
    assert not (tmp_path / "a").exists()


def test_a_tracker_that_is_not_there_is_named(shop, lora, tmp_path):
    training = TRAINING.model_copy(update={"report_to": ("trackio",)})
    with pytest.raises(UsageError, match="trackio is not installed: pip install trackio"):
        trained(shop, lora, tmp_path / "a", training)
