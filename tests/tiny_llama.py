"""A pretrained model for tests: random, tiny, with grouped heads and the published template."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gloss.config import LoraTraining, ShopData
from gloss.data.dataset import Dataset
from gloss.experiment import stages
from gloss.prompts import PAPER_TEMPLATE

__all__ = ["TRAINING", "make_base", "make_shop", "one_thread"]

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


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order, as in the processes that tests kill; quicker, too, for what is tiny."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def make_shop(folder: Path) -> Dataset:
    """Forty people's purchases."""
    stages.prepare(ShopData(users=40, seed=1), folder)
    return Dataset.load(folder)


def make_base(folder: Path, shop: Dataset, **shape: Any) -> Path:
    """A model folder of another origin, as the hub has them."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from gloss.language.scratch.tokenizer import train_tokenizer

    words = [*shop.catalogue("paper").titles, *[PAPER_TEMPLATE.render(["x"])] * 20]
    tokenizer = train_tokenizer(words, vocabulary=500)
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
    }
    ends = {"bos_token_id": 0, "eos_token_id": 0, "tie_word_embeddings": True}
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **{**sizes, **shape}, **ends))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
