"""Sizes that fit a shop and a machine, where nobody sets them.

A model from zero and a batch that are made for a GPU and a million purchases leave 12,000 purchases
with 20 optimizer steps, fewer than the warm-up. So what is not set follows two numbers of the data:
how many titles there are, and how many tokens an epoch has. How much rankers bring to the fusion
follows the number of titles alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeVar

from gloss.config import ScratchModel, Settings, Training
from gloss.data.dataset import Dataset
from gloss.data.titles import TitleStyle
from gloss.experiment.settings import Experiment

__all__ = [
    "Shop",
    "changes",
    "filled",
    "has_gpu",
    "list_length",
    "shop_of",
    "sized",
    "steps_of",
    "tokens_of_epoch",
]

S = TypeVar("S", bound=Settings)

_TOKENS_PER_WORD = 1.5
"""Of tokenizers that are trained on a shop's own titles."""

_STEPS_PER_EPOCH = 100
_LEAST_BATCH, _LARGEST_BATCH = 1024, 16_384
_WARMUP_SHARE, _MOST_WARMUP = 20, 200
"""A twentieth of all steps, up to 200, as the published configurations have."""

_RATE_TIMES_WIDTH = 0.512
_HIGHEST_RATE = 0.004
"""The best learning rate falls as a model widens: 0.004 at 128 (the demo), 0.001 at 512 (Toys)."""

_LEAST_LIST, _LONGEST_LIST = 20, 200

_SIZES: Mapping[type[Settings], tuple[str, ...]] = {
    ScratchModel: ("vocabulary", "layers", "width", "heads"),
    Training: ("epochs", "batch_tokens", "learning_rate", "warmup_steps"),
}
"""What follows the data, of each section."""


@dataclass(frozen=True, slots=True)
class Shop:
    """titles: distinct ones; tokens: about how many an epoch of training has."""

    titles: int
    tokens: int


def shop_of(data: Dataset, titles: TitleStyle) -> Shop:
    """What the sizes follow, from the catalogue and the purchases that are trained on."""
    catalogue, counts = data.catalogue(titles), data.times_bought().tolist()
    pairs = zip(catalogue, counts, strict=True)
    words = sum(count * (len(item.title.split()) + 1) for item, count in pairs)
    return Shop(len(set(catalogue.titles)), round(_TOKENS_PER_WORD * words))


def has_gpu() -> bool:
    """Whether this machine trains on a GPU."""
    if not find_spec("torch"):
        return False
    import torch

    return torch.cuda.is_available()


def sized(experiment: Experiment, shop: Shop, *, gpu: bool) -> Experiment:
    """The experiment with the sizes of a model from zero set that nobody has set."""
    if not isinstance(experiment.model, ScratchModel):
        return experiment
    assert isinstance(experiment.training, Training)
    model = _with_unset(experiment.model, _shape(experiment.model, shop, gpu=gpu))
    training = _with_unset(experiment.training, _epochs_and_batch(shop, model, gpu=gpu))
    training = _with_unset(training, {"warmup_steps": _warmup(training, shop)})
    return experiment.model_copy(update={"model": model, "training": training})


def filled(experiment: Experiment, measured: Experiment) -> Experiment:
    """The experiment with sizes that nobody has set as they are in a run of it."""
    updates = {}
    for name in ("model", "training"):
        section, known = getattr(experiment, name), getattr(measured, name)
        if type(section) is type(known):
            sizes = {size: getattr(known, size) for size in _SIZES.get(type(section), ())}
            updates[name] = _with_unset(section, sizes)
    return experiment.model_copy(update=updates)


def changes(before: Experiment, after: Experiment) -> dict[str, Any]:
    """The sizes that were set, by the names of the settings."""
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in ("model", "training"))
    return {
        f"{name}.{size}": getattr(new, size)
        for name, old, new in pairs
        for size in _SIZES.get(type(new), ())
        if size not in old.model_fields_set
    }


def list_length(titles: int, *, shown: int) -> int:
    """How many items a ranker brings to the fusion: half the square root of the titles.

    A list that holds a large part of the catalogue tells the fusion little, and costs it time: the
    published runs take 60 of 12,000. shown: the items of a fused list, which are the least.

    >>> [list_length(titles, shown=10) for titles in (400, 11_900, 1_000_000)]
    [20, 55, 200]
    >>> list_length(400, shown=50)
    50
    """
    return max(shown, min(_LONGEST_LIST, max(_LEAST_LIST, round(math.sqrt(titles) / 2))))


def _with_unset(section: S, values: Mapping[str, Any]) -> S:
    """The section with those of the values that nobody has set."""
    unset = {name: value for name, value in values.items() if name not in section.model_fields_set}
    return section.model_copy(update=unset)


def _shape(model: ScratchModel, shop: Shop, *, gpu: bool) -> dict[str, int]:
    """A model that a CPU trains in minutes, or one that a GPU is needed for and large data fill."""
    large = gpu and shop.tokens >= 1_000_000
    shape = {
        "vocabulary": min(32_000 if gpu else 8000, max(1000, 4 * shop.titles)),
        "layers": 8 if large else 4 if gpu else 2,
    }
    if not {"width", "heads"} & model.model_fields_set:  # either must divide the other
        width = 512 if large else 256 if gpu else 128
        shape |= {"width": width, "heads": 8 if large else 4}
    return shape


def _epochs_and_batch(shop: Shop, model: ScratchModel, *, gpu: bool) -> dict[str, Any]:
    """About a hundred steps an epoch, and as many epochs as a budget of tokens allows."""
    wanted = max(shop.tokens // _STEPS_PER_EPOCH, 1)
    batch = 2 ** (wanted.bit_length() - 1)
    budget, least, most = (100_000_000, 10, 36) if gpu else (12_000_000, 3, 14)
    return {
        "batch_tokens": min(_LARGEST_BATCH, max(_LEAST_BATCH, batch)),
        "epochs": min(most, max(least, budget // max(shop.tokens, 1))),
        "learning_rate": min(_HIGHEST_RATE, _RATE_TIMES_WIDTH / model.width),
    }


def tokens_of_epoch(training: Training, shop: Shop) -> int:
    """Histories that begin at a random purchase have half of their tokens, on average."""
    return round(shop.tokens * (1 - training.random_start / 2) * (1 - training.dropped))


def steps_of(training: Training, shop: Shop) -> int:
    """Optimizer steps of one network."""
    return training.epochs * max(1, -(-tokens_of_epoch(training, shop) // training.batch_tokens))


def _warmup(training: Training, shop: Shop) -> int:
    return min(_MOST_WARMUP, steps_of(training, shop) // _WARMUP_SHARE)
