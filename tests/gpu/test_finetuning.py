"""Fine-tuning on CUDA devices: the packed kernel, 4-bit weights, several GPUs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from gloss import stages
from gloss.artifacts import open_artifact
from gloss.config import Decoding, LoraModel
from gloss.data.dataset import Dataset
from tiny_llama import TRAINING, make_base, make_shop

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
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
    from gloss.language import packing

    torch.manual_seed(0)
    bounds = torch.tensor([0, *LENGTHS], device="cuda").cumsum(0).to(torch.int32)
    found = []
    for attend, dtype in ((packing._by_kernel, torch.bfloat16), (packing._by_length, torch.float)):
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
    losses = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
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
    def config(name: str, accumulation: int) -> Path:
        training = TRAINING.model_dump(mode="json") | {"accumulation": accumulation}
        settings = {
            "name": "tiny",
            "protocol": "paper",
            "data": {"source": "shop"},
            "model": lora(base).model_dump(mode="json"),
            "training": training,
        }
        (tmp_path / name).write_text(yaml.safe_dump(settings))
        return tmp_path / name

    gloss = [sys.executable, "-c", "from gloss.cli.main import main; main()", "train"]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
    launch += [str(pytestconfig.rootpath / f"configs/accelerate/{kind}.yaml"), "--no_python"]
    for prefix, path, out in (([], config("one", 2), "a"), (launch, config("two", 1), "b")):
        call = [*prefix, *gloss, str(path), "-d", str(shop.path), "-o", str(tmp_path / out)]
        subprocess.run(call, check=True, timeout=300)
    one, two = (open_artifact(tmp_path / out, "model").summary for out in ("a", "b"))
    assert two["steps"] == one["steps"]
    assert two["validation_loss"] == pytest.approx(one["validation_loss"], rel=0.05)
