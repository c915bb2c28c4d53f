"""Sizes that fit a shop and a machine, where nobody sets them; and what a training then costs.

A model from zero and a batch that are made for a GPU and a million purchases leave 12,000 purchases
with 20 optimizer steps, fewer than the warm-up. So what is not set follows two numbers of the data:
how many titles there are, and how many tokens an epoch has.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np

from gloss.config import ScratchModel, Settings, Training
from gloss.data.dataset import Dataset
from gloss.data.titles import TitleStyle
from gloss.experiment.feasibility import FLOATS_PER_WEIGHT, weights_of_blocks
from gloss.experiment.settings import Experiment

__all__ = ["Cost", "Shop", "changes", "cost_of", "filled", "has_gpu", "shop_of", "sized"]

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

_SIZES: Mapping[type[Settings], tuple[str, ...]] = {
    ScratchModel: ("vocabulary", "layers", "width", "heads"),
    Training: ("epochs", "batch_tokens", "learning_rate", "warmup_steps"),
}
"""What follows the data, of each section."""

_PROBE_SECONDS = 0.2
_PROBE_WIDTH = 512
_EFFICIENCY = 0.5
"""Of a matrix product's rate that training reaches, roughly; 0.7 on two busy cores."""

_FLOATS_PER_STATE = 34
"""Activations that a block keeps for each of a token's `width` states (Korthikanti and others,
2022)."""


@dataclass(frozen=True, slots=True)
class Shop:
    """titles: distinct ones; tokens: about how many an epoch of training has."""

    titles: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What training costs, roughly. seconds: at the rate of this machine; bytes: of memory."""

    parameters: int
    steps: int
    tokens: int
    seconds: float
    bytes: int


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


def cost_of(experiment: Experiment, shop: Shop, *, gpu: bool) -> Cost | None:
    """What training the language model from zero takes on this machine; None for an adapter."""
    model, training = experiment.model, experiment.training
    if not (isinstance(model, ScratchModel) and isinstance(training, Training)):
        return None
    blocks = weights_of_blocks(model)
    embedding = model.vocabulary * model.width  # shared by input and output
    tokens = training.epochs * _tokens_of_epoch(training, shop) * model.networks
    passes = 2 if training.r_drop else 1
    operations = 6 * passes * (blocks + embedding) * tokens  # forward 2, backward 4 for a weight
    states = training.batch_tokens * (
        _FLOATS_PER_STATE * model.layers * model.width + 2 * model.vocabulary
    )
    floats = FLOATS_PER_WEIGHT * (blocks + embedding) + states
    return Cost(
        parameters=blocks + embedding,
        steps=model.networks * _steps(training, shop),
        tokens=tokens,
        seconds=operations / (_EFFICIENCY * _matrix_rate(gpu=gpu)),
        bytes=4 * floats,
    )


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


def _tokens_of_epoch(training: Training, shop: Shop) -> int:
    """Histories that begin at a random purchase have half of their tokens, on average."""
    return round(shop.tokens * (1 - training.random_start / 2) * (1 - training.dropped))


def _steps(training: Training, shop: Shop) -> int:
    return training.epochs * max(1, -(-_tokens_of_epoch(training, shop) // training.batch_tokens))


def _warmup(training: Training, shop: Shop) -> int:
    return min(_MOST_WARMUP, _steps(training, shop) // _WARMUP_SHARE)


def _matrix_rate(*, gpu: bool) -> float:
    """Floating-point operations a second of matrix products on this machine."""
    if gpu:
        return _rate_of_gpu()
    rng = np.random.default_rng(0)
    states, weights = (rng.random((n, _PROBE_WIDTH), np.float32) for n in (1024, _PROBE_WIDTH))
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < _PROBE_SECONDS:
        states @ weights
        done += 1
    return done * 2 * states.size * _PROBE_WIDTH / (time.perf_counter() - started)


def _rate_of_gpu() -> float:
    import torch

    kind: Any = {"device": "cuda", "dtype": torch.bfloat16}
    states = torch.ones(16_384, _PROBE_WIDTH, **kind)
    weights = torch.ones(_PROBE_WIDTH, _PROBE_WIDTH, **kind)
    for _ in range(3):  # the first products are slower
        states @ weights
    torch.cuda.synchronize()
    done, started = 20, time.perf_counter()
    for _ in range(done):
        states @ weights
    torch.cuda.synchronize()
    return done * 2 * states.numel() * _PROBE_WIDTH / (time.perf_counter() - started)
