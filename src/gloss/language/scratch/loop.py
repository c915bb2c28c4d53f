"""The training loop: next-token cross-entropy on documents, packed without padding.

The randomness of a step is a function of the seed and the step alone (order, augmentation,
dropout), so a run that was killed and resumed ends with the same bits as one that was not.

Knows token sequences; knows no titles, no users, no files but its checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import nn

from gloss.config import Training
from gloss.language.scratch.packed_llama import attending_to_packs
from gloss.language.scratch.steps import Steps, steps_of
from gloss.progress import Progress, silent
from gloss.training.checkpoint import load_checkpoint, save_checkpoint

__all__ = ["Epoch", "TrainingRecord", "train"]

_CHECKPOINT_SECONDS = 60.0
_READ_SECONDS = 1.0

Epoch = Callable[[int], list[np.ndarray]]
"""The documents of an epoch, a pure function of its number."""


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What a run went through. losses: one row an epoch; tokens: how many were trained on."""

    losses: tuple[dict[str, float], ...]
    steps: int
    tokens: int


def train(
    model: nn.Module,
    documents: Epoch,
    settings: Training,
    *,
    seed: int,
    pad: int,
    checkpoint: Path,
    validate: Callable[[nn.Module], float] | None = None,
    progress: Progress = silent,
) -> TrainingRecord:
    """Train the model in place for `settings.epochs` passes, from the checkpoint if there is one.

    `pad` fills up packs where they have to be of one size (steps.py). `validate` gives a loss after
    each epoch. The checkpoint is rewritten every minute and at the end; removing it is the
    caller's. Losses are in nats a token; of training, with what two readings disagree
    (`settings.r_drop`).
    """
    steps = steps_of(model, settings, pad=pad)
    state = _resume(checkpoint, model, steps)
    clock = _Clock(progress)
    saved_at = time.monotonic()
    with _training(model):
        for epoch in range(len(state.losses), settings.epochs):
            packs = _packs(documents(epoch), settings, seed, epoch)
            for place in range(state.place, len(packs)):
                step, tokens = state.step + 1, sum(map(len, packs[place]))
                torch.manual_seed(seed * 1_000_003 + step)
                share = (epoch + (place + 1) / len(packs)) / settings.epochs
                rate = settings.learning_rate * _schedule(step, share, settings.warmup_steps)
                loss = steps.take(packs[place], rate)
                state.add(loss, tokens)
                clock.tick(step, len(packs) * settings.epochs, tokens, loss)
                if time.monotonic() - saved_at > _CHECKPOINT_SECONDS:
                    _save(checkpoint, model, steps.optimizer, state)
                    saved_at = time.monotonic()
            state.close_epoch(validate(model) if validate else math.nan)
    _save(checkpoint, model, steps.optimizer, state)
    return TrainingRecord(tuple(state.losses), state.step, state.tokens)


@dataclass(slots=True)
class _State:
    """What a checkpoint remembers besides the weights. place: the epoch's packs that are done;
    loss_sum: over them, in a tensor so that nobody waits for a device."""

    step: int
    place: int
    tokens: int
    loss_sum: torch.Tensor
    losses: list[dict[str, float]]

    def add(self, loss: torch.Tensor, tokens: int) -> None:
        self.step += 1
        self.place += 1
        self.tokens += tokens
        self.loss_sum = self.loss_sum.to(loss.device) + loss.double()

    def close_epoch(self, validation: float) -> None:
        row = {"step": self.step, "loss": float(self.loss_sum) / max(1, self.place)}
        if not math.isnan(validation):
            row["validation_loss"] = validation
        self.losses.append(row)
        self.place, self.loss_sum = 0, torch.zeros_like(self.loss_sum)


class _Clock:
    """Turns steps into progress with the loss and the speed."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.started, self.tokens = time.monotonic(), 0
        self.read_at, self.loss = -math.inf, math.nan

    def tick(self, step: int, total: int, tokens: int, loss: torch.Tensor) -> None:
        self.tokens += tokens
        now = time.monotonic()
        if now - self.read_at > _READ_SECONDS:
            # Reading it waits for the device.
            self.read_at, self.loss = now, float(loss)
        speed = self.tokens / max(1e-9, now - self.started)
        self.progress(step, max(step, total), f"loss {self.loss:.3f}, {speed:,.0f} tokens/s")


def _packs(
    documents: Sequence[np.ndarray], settings: Training, seed: int, epoch: int
) -> list[list[np.ndarray]]:
    """Documents in random order, in packs of at most so many tokens, or of one document."""
    order = np.random.default_rng((seed, epoch, 1)).permutation(len(documents))
    packs: list[list[np.ndarray]] = []
    room = 0
    for place in order:
        document = documents[place]
        room -= len(document)
        if room < 0:
            packs.append([])
            room = settings.batch_tokens - len(document)
        packs[-1].append(document)
    return packs


def _schedule(step: int, share: float, warmup: int) -> float:
    """Linear warm-up over steps, which count from one, under a linear decay over the share of the
    training that is done."""
    return min(step / max(1, warmup), 1 - share)


@contextmanager
def _training(model: nn.Module) -> Iterator[None]:
    """Training mode, on packs."""
    model.train()
    try:
        with attending_to_packs(model):
            yield
    finally:
        model.eval()


def _save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: _State) -> None:
    rest = {field.name: getattr(state, field.name) for field in fields(state)}
    save_checkpoint(
        path, {"model": model.state_dict(), "optimizer": optimizer.state_dict(), **rest}
    )


def _resume(path: Path, model: nn.Module, steps: Steps) -> _State:
    """Load the checkpoint, if there is one."""
    saved = load_checkpoint(path)
    if saved is None:
        return _State(0, 0, 0, torch.zeros((), dtype=torch.float64), [])
    model.load_state_dict(saved.pop("model"))
    steps.resume(saved.pop("optimizer"))
    return _State(**saved)
