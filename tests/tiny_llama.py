"""What tests of fine-tuning share: a shop, a tiny base model, and a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gloss.config import LoraTraining, ShopData
from gloss.data.dataset import Dataset
from gloss.experiment import stages
from gloss.testing.tiny_model import write_tiny_llama

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
    """A model folder of another origin, whose tokenizer was trained on the shop's titles."""
    return write_tiny_llama(folder, shop.catalogue("paper").titles, **shape)
