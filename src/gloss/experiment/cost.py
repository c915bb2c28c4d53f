"""What training a language model from zero costs on this machine, and whether it ends in a day."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from gloss.config import ScratchModel, Training
from gloss.errors import ConfigError
from gloss.experiment.feasibility import FLOATS_PER_WEIGHT, weights_of_blocks
from gloss.experiment.settings import Experiment
from gloss.experiment.sizing import Shop, steps_of, tokens_of_epoch

__all__ = ["Cost", "cost_of", "require_a_day"]

_PROBE_SECONDS = 0.2
_PROBE_WIDTH = 512
_EFFICIENCY = 0.5
"""Of a matrix product's rate that training reaches, roughly; 0.7 on two busy cores."""

_FLOATS_PER_STATE = 34
"""Activations that a block keeps for each of a token's `width` states (Korthikanti and others,
2022)."""

_DAY = 24 * 3600.0
_UNQUESTIONED_OPERATIONS = 1e14
"""What any core does within hours: no machine is measured for less."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What training costs, roughly. operations: of floating-point numbers; bytes: of memory."""

    parameters: int
    steps: int
    tokens: int
    operations: float
    bytes: int
    gpu: bool

    def seconds(self) -> float:
        """How long it takes at the rate of this machine, which is measured for it."""
        return self.operations / (_EFFICIENCY * _matrix_rate(gpu=self.gpu))


def cost_of(experiment: Experiment, shop: Shop, *, gpu: bool) -> Cost | None:
    """What training the language model from zero takes on this machine; None for an adapter."""
    model, training = experiment.model, experiment.training
    if not (isinstance(model, ScratchModel) and isinstance(training, Training)):
        return None
    blocks = weights_of_blocks(model)
    embedding = model.vocabulary * model.width  # shared by input and output
    tokens = training.epochs * tokens_of_epoch(training, shop) * model.networks
    passes = 2 if training.r_drop else 1
    operations = 6 * passes * (blocks + embedding) * tokens  # forward 2, backward 4 for a weight
    states = training.batch_tokens * (
        _FLOATS_PER_STATE * model.layers * model.width + 2 * model.vocabulary
    )
    floats = FLOATS_PER_WEIGHT * (blocks + embedding) + states
    return Cost(
        parameters=blocks + embedding,
        steps=model.networks * steps_of(training, shop),
        tokens=tokens,
        operations=operations,
        bytes=4 * floats,
        gpu=gpu,
    )


def require_a_day(cost: Cost | None) -> None:
    """Raise ConfigError if training would take this machine more than a day."""
    if cost is None or cost.operations < _UNQUESTIONED_OPERATIONS:
        return
    if (seconds := cost.seconds()) > _DAY:
        raise ConfigError(
            f"training model would take this machine about {seconds / 3600:,.0f} hours: take fewer "
            "epochs, fewer networks, a smaller model or a faster machine (--force begins it)"
        )


def _matrix_rate(*, gpu: bool) -> float:
    """Floating-point operations a second of matrix products on this machine."""
    if gpu:
        return _rate_of_gpu()
    rng = np.random.default_rng(0)
    states, weights = (rng.random((n, _PROBE_WIDTH), np.float32) for n in (1024, _PROBE_WIDTH))
    ends = [time.perf_counter()]
    while ends[-1] - ends[0] < _PROBE_SECONDS:
        states @ weights
        ends.append(time.perf_counter())
    fastest = min(end - start for start, end in pairwise(ends))  # others may use the machine too
    return 2 * states.size * _PROBE_WIDTH / fastest


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
