"""What the tests of pretrained models share: data, a base model, a finished adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gloss.config import LoraModel
from gloss.data.dataset import Dataset
from gloss.experiment import stages
from gloss.language.lora.adapters import load_tokenizer
from tiny_llama import TRAINING, make_base, make_shop, one_thread


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> Dataset:
    return make_shop(tmp_path_factory.mktemp("shop") / "data")


@pytest.fixture(scope="session")
def base(shop, tmp_path_factory) -> Path:
    return make_base(tmp_path_factory.mktemp("base") / "tiny-llama", shop)


@pytest.fixture(scope="session")
def tokenizer(base):
    return load_tokenizer(base)


@pytest.fixture(scope="session")
def lora(base) -> LoraModel:
    return LoraModel(recipe="lora", base=str(base), quantization="none", rank=4, alpha=8)


@pytest.fixture
def alone() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="session")
def adapter(shop, lora, tmp_path_factory) -> Path:
    """A finished adapter; read it, leave it as it is."""
    with one_thread():
        return stages.train(
            shop.path,
            tmp_path_factory.mktemp("adapter") / "adapter",
            model=lora,
            training=TRAINING,
            titles="paper",
            seed=1,
        ).path
