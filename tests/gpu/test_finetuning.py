"""Fine-tuning on CUDA devices: the packed kernel, 4-bit weights, several GPUs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from gloss.artifacts import open_artifact
from gloss.config import Decoding, LoraModel
from gloss.data.dataset import Dataset
from gloss.experiment import stages
from gloss.language.lora import checkpoints
from tiny_llama import TRAINING, make_base, make_shop

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
GLOSS = (sys.executable, "-c", "from gloss.cli.main import main; main()")
LENGTHS = (7, 130, 2, 64, 300)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: Any) -> Dataset:
    return make_shop(tmp_path_factory.mktemp("shop") / "data")


@pytest.fixture(scope="module")
def base(shop: Dataset, tmp_path_factory: Any) -> Path:
    wide = {"hidden_size": 256, "intermediate_size": 512}
    return make_base(tmp_path_factory.mktemp("base") / "tiny", shop, **wide)


def lora(base: Path, **changes: Any) -> LoraModel:
    return LoraModel(recipe="lora", base=str(base), **{"quantization": "none", **changes})


@pytest.mark.parametrize("head", [64, 128])
@pytest.mark.parametrize("key_heads", [8, 2])
def test_the_packed_kernel_does_what_each_example_does_alone(head: int, key_heads: int) -> None:
    from gloss.language import packed_attention

    torch.manual_seed(0)
    bounds = torch.tensor([0, *LENGTHS], device="cuda").cumsum(0).to(torch.int32)
    found = []
    for attend, dtype in (
        (packed_attention._attend_by_kernel, torch.bfloat16),
        (packed_attention._attend_by_length, torch.float),
    ):
        generator = torch.Generator("cuda").manual_seed(1)
        states = [
            torch.randn(sum(LENGTHS), heads, head, device="cuda", generator=generator)
            .to(torch.bfloat16)
            .to(dtype)
            .requires_grad_()
            for heads in (8, key_heads, key_heads)
        ]
        seen = attend(*states, bounds=bounds, longest=max(LENGTHS), scale=head**-0.5)
        weights = torch.randn(seen.shape, device="cuda", generator=generator)
        (seen.float() * weights).sum().backward()
        gradients = [state.grad for state in states]
        found.append([seen, *gradients])
    for ours, exact in zip(*found, strict=True):
        torch.testing.assert_close(ours.float(), exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("packing", [True, False])
def test_an_adapter_is_trained_and_decodes(
    base: Path, shop: Dataset, tmp_path: Path, quantization: str, packing: bool
) -> None:
    training = TRAINING.model_copy(
        update={"packing": packing, "gradient_checkpointing": "auto", "optimizer": "adamw-8bit"}
    )
    model = lora(base, quantization=quantization)
    out = tmp_path / "adapter"
    made = stages.train(shop.path, out, model=model, training=training, titles="paper", seed=1)
    losses = losses_of(out)
    validated = [row["validation_loss"] for row in losses if "validation_loss" in row]
    assert validated[-1] < validated[0]
    assert made.summary["steps"] == 15
    written = stages.generate(
        out, shop.path, tmp_path / "written", split="test", settings=Decoding(beams=4)
    )
    assert written.summary["users"] == 40


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_gpus_train_as_one_does(
    pytestconfig: Any, base: Path, shop: Dataset, tmp_path: Path, kind: str
) -> None:
    def config(name: str) -> Path:
        training = TRAINING.model_dump(mode="json")
        settings = {
            "name": "tiny",
            "protocol": "paper",
            "data": {"source": "shop"},
            "model": lora(base).model_dump(mode="json"),
            "training": training,
        }
        (tmp_path / name).write_text(yaml.safe_dump(settings))
        return tmp_path / name

    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
    launch += [str(pytestconfig.rootpath / f"configs/accelerate/{kind}.yaml"), "--no_python"]
    for prefix, path, out in (([], config("one"), "a"), (launch, config("two"), "b")):
        call = [
            *prefix,
            *GLOSS,
            "train",
            str(path),
            "-d",
            str(shop.path),
            "-o",
            str(tmp_path / out),
        ]
        subprocess.run(call, check=True, timeout=300)
    one, two = (open_artifact(tmp_path / out, "model").summary for out in ("a", "b"))
    assert two["steps"] == one["steps"]
    assert two["validation_loss"] == pytest.approx(one["validation_loss"], rel=0.05)


LLAMA_1B = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}


def test_the_published_recipe_at_the_1b_shape_goes_on_when_killed(
    shop: Dataset, tmp_path: Path
) -> None:
    goes_on_when_killed(
        make_base(tmp_path / "base", shop, **LLAMA_1B), shop, tmp_path, optimizer="adamw-8bit"
    )


def goes_on_when_killed(base: Path, shop: Dataset, tmp_path: Path, *, optimizer: str) -> None:
    """Train twice by the published recipe, once killed after a checkpoint: the same curve, and an
    adapter that decodes."""
    training = {"epochs": 4, "batch": 4, "accumulation": 4, "learning_rate": 1e-3}
    training |= {"warmup_steps": 3, "optimizer": optimizer, "sequence": 400, "loss_on": "all"}
    training |= {"packing": False, "gradient_checkpointing": "always"}
    settings = {
        "name": "killed",
        "protocol": "paper",
        "data": {"source": "shop"},
        "model": lora(base, quantization="nf4").model_dump(mode="json"),
        "training": {"recipe": "lora", **training},
    }
    (tmp_path / "killed.yaml").write_text(yaml.safe_dump(settings))
    call = [*GLOSS, "train", str(tmp_path / "killed.yaml"), "-d", str(shop.path), "-o"]
    subprocess.run([*call, str(tmp_path / "whole")], check=True, timeout=300)
    with subprocess.Popen([*call, str(tmp_path / "resumed")]) as process:
        while not [*tmp_path.glob(f".resumed.partial/checkpoints/*/{checkpoints._MARK}")]:
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    assert not (tmp_path / "resumed").exists()
    subprocess.run([*call, str(tmp_path / "resumed")], check=True, timeout=300)
    whole, resumed = (losses_of(tmp_path / name) for name in ("whole", "resumed"))
    assert [row["step"] for row in resumed] == [row["step"] for row in whole]
    for name in ("loss", "validation_loss"):
        curves = [[row[name] for row in rows if name in row] for rows in (whole, resumed)]
        assert curves[0][-1] < curves[0][0]
        assert curves[1] == pytest.approx(curves[0], rel=0.02)
    decoding = Decoding(beams=4)
    out = tmp_path / "written"
    made = stages.generate(
        tmp_path / "resumed", shop.path, out, split="test", settings=decoding, limit_users=8
    )
    assert made.summary["users"] == 8


def losses_of(model: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (model / "losses.jsonl").read_text().splitlines()]
