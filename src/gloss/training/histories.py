"""Training on histories of items, the same for SASRec and the dual encoder. Needs torch.

Knows rows of items and a loss of them; the network behind the loss is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gloss.arrays import Array
from gloss.progress import Progress, silent
from gloss.training.data_parallel import own_part, sum_gradients
from gloss.training.loop import Position, train
from gloss.training.optimization import linear_warmup
from gloss.training.sequences import pad_sequences

__all__ = ["HistoryLengthWeighting", "HistoryLoss", "train_on_histories"]

HistoryLoss = Callable[[torch.Tensor, torch.Tensor, list[int]], torch.Tensor]
"""Rows of items, (histories, longest), padded on the right, the mask of real ones, and the numbers
of the histories that this process reads -> the mean loss over these histories' targets, ()"""

_MAX_WARMUP_STEPS = 100
"""A tenth of all steps, where that is less."""


class HistoryLengthWeighting:
    """How much each target counts in the loss: w(target) = (targets of its history)^power, divided
    by the mean of that over all targets of all histories.

    A history's targets are all its purchases but the first. With power 0 all count alike; above
    it, those who buy much count more than their share, and rankings for everybody improve
    (docs/log.md, 2026-11-26).

    Histories of 3 and 2 purchases have 2 and 1 targets. With power 1 the three targets count
    2, 2 and 1 before, and 1.2, 1.2 and 0.6 after the division by their mean, 5/3:

    >>> weighting = HistoryLengthWeighting([np.array([4, 7, 1]), np.array([3, 5])], 1.0)
    >>> weights = weighting.weights(torch.tensor([[True, True], [True, False]]))
    >>> [round(weight, 6) for weight in weights.tolist()]
    [1.2, 1.2, 0.6]
    """

    def __init__(self, histories: Sequence[Array], power: float) -> None:
        targets = np.array([len(history) - 1 for history in histories], np.float64)
        self._power = power
        self._mean = float((targets ** (1 + power)).sum() / targets.sum())

    def weights(self, is_target: torch.Tensor) -> torch.Tensor:
        """float32 (targets,), in row order. is_target: bool (histories, positions)."""
        # (histories, 1) -> (histories, positions) -> (targets,)
        counts = is_target.sum(1, keepdim=True).expand_as(is_target)[is_target]
        weights: torch.Tensor = counts.float() ** self._power / self._mean
        return weights


def train_on_histories(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    histories: Sequence[Array],
    loss: HistoryLoss,
    *,
    epochs: int,
    batch_users: int,
    seed: int,
    checkpoint: Path,
    progress: Progress = silent,
) -> list[dict[str, float]]:
    """Train a network in place; a row of losses for each epoch (`TrainingRecord`).

    histories: int64 rows of items; a step reads `batch_users` of them. The learning rates of the
    optimizer's groups are the highest; in step s of S, with W steps of warm-up, they are multiplied
    by min(1, s / W) · (1 - (s - 1) / S). Goes on from `checkpoint`, and is deterministic in the
    seed, as `gloss.training.loop.train` says.
    """
    task = _HistoryTask(network, optimizer, histories, loss, batch_users, seed)
    record = train(
        task, epochs=epochs, seed=seed, seed_each="epoch", checkpoint=checkpoint, progress=progress
    )
    return list(record.losses)


class _HistoryTask:
    """A `TrainingTask` whose batches are rows of `histories`, int64 (users,)."""

    unit = "purchases"

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        histories: Sequence[Array],
        loss: HistoryLoss,
        batch_users: int,
        seed: int,
    ) -> None:
        self.model, self.optimizer = network, optimizer
        self._histories, self._loss = histories, loss
        self._batch_users, self._seed = batch_users, seed
        self._lengths = np.array([len(history) for history in histories])
        self._highest_rates = [group["lr"] for group in optimizer.param_groups]
        self._device = next(network.parameters()).device

    def batches(self, epoch: int) -> list[Array]:
        return _batches_by_length(
            self._lengths, self._batch_users, np.random.default_rng((self._seed, epoch))
        )

    def step(self, batch: Array, position: Position) -> torch.Tensor:
        factor = _rate_factor(position.step, position.steps)
        for group, highest in zip(self.optimizer.param_groups, self._highest_rates, strict=True):
            group["lr"] = highest * factor
        self.optimizer.zero_grad(set_to_none=True)
        rows, mask = pad_sequences([self._histories[row] for row in batch], self._device)
        lengths = self._lengths[batch].tolist()
        part = own_part(lengths, [length - 1 for length in lengths])
        loss = self._loss(rows, mask, part.rows) * part.weight
        loss.backward()
        loss = sum_gradients(self.model, loss)
        self.optimizer.step()
        return loss

    def size(self, batch: Array) -> int:
        return int(self._lengths[batch].sum())

    def validation_loss(self) -> None:
        """Nothing is held back: `train_network` of SASRec says why."""

    def load_optimizer(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)


def _rate_factor(step: int, steps: int) -> float:
    """The learning rate's factor in a step, counted from 1.

    >>> [round(_rate_factor(step, 20), 3) for step in (1, 2, 3, 4, 12, 20)]
    [0.333, 0.633, 0.9, 0.85, 0.45, 0.05]
    """
    warmup_steps = min(_MAX_WARMUP_STEPS, 1 + steps // 10)
    return linear_warmup(step, warmup_steps) * (1 - (step - 1) / steps)


def _batches_by_length(lengths: Array, users: int, rng: np.random.Generator) -> list[Array]:
    """Rows of histories in batches of `users`, in random order; those of about the same length are
    together, so that little is padded."""
    noisy_lengths = lengths * rng.uniform(0.8, 1.25, len(lengths))
    order = np.argsort(noisy_lengths, kind="stable")
    batches = [order[first : first + users] for first in range(0, len(order), users)]
    return [batches[number] for number in rng.permutation(len(batches))]
