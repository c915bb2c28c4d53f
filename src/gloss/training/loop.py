"""The training loop of every network that is trained here from its first step on.

It counts epochs and steps, seeds what they draw, adds up losses and keeps a checkpoint. A run that
was killed at any time and started again ends with the same weights, to the last bit on a CPU.
Several processes (processes.py) take the same steps together, each on a part of the batch; the
first keeps the checkpoint, from which any number of them goes on.

Knows steps and their losses; the batches, the model's loss and its learning rate are a task's.
Needs torch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import torch
from torch import nn

from gloss.errors import InputError
from gloss.progress import Progress, silent
from gloss.training.checkpoint import load_checkpoint, save_checkpoint
from gloss.training.data_parallel import agree_on_start
from gloss.training.optimization import seed_torch
from gloss.training.processes import is_first_process

__all__ = ["Position", "SeedEach", "TrainingRecord", "TrainingTask", "train"]

Batch = TypeVar("Batch")

SeedEach = Literal["step", "epoch"]

_CHECKPOINT_SECONDS = 60.0
_LOSS_READ_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands. step: from 1 on, over all epochs; epoch, batch: from 0 on; batches: of
    this epoch; epochs: of the run."""

    step: int
    epoch: int
    batch: int
    batches: int
    epochs: int

    @property
    def steps(self) -> int:
        """Steps of the whole run, if all epochs have as many batches as this one."""
        return self.batches * self.epochs


class TrainingTask(Protocol[Batch]):
    """What the loop trains.

    model: changed in place; unit: what `size` counts, in the plural.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    unit: str

    def batches(self, epoch: int) -> Sequence[Batch]:
        """The batches of an epoch, which depend on its number alone."""
        ...

    def step(self, batch: Batch, position: Position) -> torch.Tensor:
        """Change the weights once; returns the batch's loss before that, (), on any device.

        Of several processes each is given the whole batch; weights and loss are the same in all.
        """
        ...

    def size(self, batch: Batch) -> int:
        """How many units a batch holds."""
        ...

    def validation_loss(self) -> float | None:
        """Measured after each epoch; None where nothing is."""
        ...

    def load_optimizer(self, state: dict[str, Any]) -> None:
        """Take over what `optimizer.state_dict()` gave in an earlier process."""
        ...


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What a run went through.

    losses: a row for each epoch with "step", "loss" (the mean over the epoch's batches) and, where
    it is measured, "validation_loss"; units: how many were trained on, in all epochs.
    """

    losses: tuple[dict[str, float], ...]
    steps: int
    units: int


def train(
    task: TrainingTask[Batch],
    *,
    epochs: int,
    seed: int,
    seed_each: SeedEach,
    checkpoint: Path,
    progress: Progress = silent,
) -> TrainingRecord:
    """Train a task's model for `epochs` passes, from the checkpoint if there is a whole one.

    seed_each: how often torch is seeded. With "step" the checkpoint is written once a minute and
    at the end of the run; with "epoch" after each epoch, because inside one the state of torch's
    random numbers is not known. Removing the checkpoint is the caller's. Raises InputError when a
    loss or, at the end, a weight is infinite or no number.
    """
    run = _Run(task, epochs, seed, seed_each, checkpoint, progress)
    task.model.train()
    try:
        for epoch in range(len(run.state.losses), epochs):
            run.train_epoch(epoch)
    finally:
        task.model.eval()
    _require_finite_weights(task.model)
    state = run.state
    return TrainingRecord(tuple(state.losses), state.step, state.units)


@dataclass(slots=True)
class _State:
    """What a checkpoint remembers besides model and optimizer.

    batch: how many of the current epoch are done; loss_sum: over them, float64 (), on the model's
    device, so that no step waits for the one before.
    """

    step: int
    batch: int
    units: int
    loss_sum: torch.Tensor
    losses: list[dict[str, float]]

    def add(self, loss: torch.Tensor, size: int) -> None:
        self.step += 1
        self.batch += 1
        self.units += size
        self.loss_sum = self.loss_sum.to(loss.device) + loss.double()

    def mean_loss(self) -> float:
        """Of the current epoch so far. Waits for the device."""
        return float(self.loss_sum) / max(1, self.batch)

    def close_epoch(self, validation_loss: float | None) -> None:
        row = {"step": self.step, "loss": self.mean_loss()}
        if validation_loss is not None:
            row["validation_loss"] = validation_loss
        _require_finite(row)
        self.losses.append(row)
        self.batch, self.loss_sum = 0, torch.zeros_like(self.loss_sum)


def _require_finite(row: dict[str, float]) -> None:
    """Raise InputError for losses that are no numbers, before a checkpoint or an artefact keeps the
    weights that they are of."""
    for name in ("loss", "validation_loss"):
        if not math.isfinite(row.get(name, 0.0)):
            raise InputError(
                f"training has diverged: the {name.replace('_', ' ')} is {row[name]} after step "
                f"{row['step']:,.0f}; take a lower learning rate"
            )


def _require_finite_weights(model: nn.Module) -> None:
    """The last step's loss was taken before it: what it made of the weights is seen in these."""
    if not all(bool(weights.isfinite().all()) for weights in model.parameters()):
        raise InputError(
            "training has diverged: a weight is infinite or no number; take a lower learning rate"
        )


class _Run(Generic[Batch]):
    """One process's part of a run."""

    def __init__(
        self,
        task: TrainingTask[Batch],
        epochs: int,
        seed: int,
        seed_each: SeedEach,
        checkpoint: Path,
        progress: Progress,
    ) -> None:
        self._task, self._epochs = task, epochs
        self._seed, self._seed_each = seed, seed_each
        self._checkpoint = checkpoint
        self.state = _resumed(checkpoint, task)
        agree_on_start(task.model, self.state.step)
        self._reporter = _Reporter(progress, task.unit)
        self._saved_at = time.monotonic()

    def train_epoch(self, epoch: int) -> None:
        """From the first batch that is not done to the epoch's end."""
        if self._seed_each == "epoch":
            seed_torch(self._seed, epoch + 1)
        batches = self._task.batches(epoch)
        for number in range(self.state.batch, len(batches)):
            position = Position(self.state.step + 1, epoch, number, len(batches), self._epochs)
            self._take_step(batches[number], position)
        self.state.close_epoch(self._task.validation_loss())
        if self._seed_each == "epoch" or epoch + 1 == self._epochs:
            self._save()

    def _take_step(self, batch: Batch, position: Position) -> None:
        if self._seed_each == "step":
            seed_torch(self._seed, position.step)
        size = self._task.size(batch)
        self.state.add(self._task.step(batch, position), size)
        self._reporter.report(self.state, position.steps, size)
        is_late = time.monotonic() - self._saved_at > _CHECKPOINT_SECONDS
        if self._seed_each == "step" and is_late:
            self._save()

    def _save(self) -> None:
        if not is_first_process():
            return
        _require_finite({"step": self.state.step, "loss": self.state.mean_loss()})
        save_checkpoint(
            self._checkpoint,
            {
                "model": self._task.model.state_dict(),
                "optimizer": self._task.optimizer.state_dict(),
                **{field.name: getattr(self.state, field.name) for field in fields(self.state)},
            },
        )
        self._saved_at = time.monotonic()


def _resumed(path: Path, task: TrainingTask[Batch]) -> _State:
    """Load a checkpoint into the task; a new state where there is none."""
    saved = load_checkpoint(path)
    if saved is None:
        return _State(0, 0, 0, torch.zeros((), dtype=torch.float64), [])
    task.model.load_state_dict(saved.pop("model"))
    task.load_optimizer(saved.pop("optimizer"))
    return _State(**saved)


class _Reporter:
    """Turns steps into progress, with the epoch's loss so far and the speed."""

    def __init__(self, progress: Progress, unit: str) -> None:
        self._progress, self._unit = progress, unit
        self._started, self._units = time.monotonic(), 0
        self._read_at, self._loss = -math.inf, math.nan

    def report(self, state: _State, steps: int, size: int) -> None:
        self._units += size
        now = time.monotonic()
        if now - self._read_at > _LOSS_READ_SECONDS:
            # Reading it waits for the device.
            self._read_at, self._loss = now, state.mean_loss()
        speed = self._units / max(1e-9, now - self._started)
        note = f"loss {self._loss:.3f}, {speed:,.0f} {self._unit}/s"
        self._progress(state.step, max(state.step, steps), note)
