"""A pretrained model for tests: random, tiny, with grouped heads and the published template."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gloss import stages
from gloss.config import LoraModel, LoraTraining, ShopData
from gloss.data.dataset import Dataset
from gloss.language.adapters import load_tokenizer
from gloss.language.scratch import train_tokenizer
from gloss.prompts import PAPER_TEMPLATE

TRAINING = LoraTraining(
    epochs=3,
    batch=4,
    accumulation=2,
    learning_rate=1e-2,
    warmup_steps=2,
    optimizer="adamw",
    sequence=300,
    loss_on="completion",
    packing=True,
    gradient_checkpointing="never",
)
"""A recipe that takes a second."""


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> Dataset:
    folder = tmp_path_factory.mktemp("shop") / "data"
    stages.prepare(ShopData(users=40, seed=1), folder)
    return Dataset.load(folder)


@pytest.fixture(scope="session")
def base(shop, tmp_path_factory) -> Path:
    """A folder of another origin, as the hub has them."""
    folder = tmp_path_factory.mktemp("base") / "tiny-llama"
    words = [*shop.catalogue("paper").titles, *[PAPER_TEMPLATE.render(["x"])] * 20]
    tokenizer = train_tokenizer(words, vocabulary=500)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(base):
    return load_tokenizer(base)


@pytest.fixture(scope="session")
def lora(base) -> LoraModel:
    return LoraModel(recipe="lora", base=str(base), quantization="none", rank=4, alpha=8)


@pytest.fixture(scope="session")
def adapter(shop, lora, tmp_path_factory) -> Path:
    """A finished adapter; read it, leave it as it is."""
    return stages.train(
        shop.path,
        tmp_path_factory.mktemp("adapter") / "adapter",
        model=lora,
        training=TRAINING,
        titles="paper",
        seed=1,
    ).path
