"""Next-token training on documents, packed without padding.

The loop, its seeds and its checkpoint are gloss.training.loop's. Knows token sequences; no titles
and no users.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gloss.config import Training
from gloss.language.packing import Document
from gloss.language.scratch.packed_llama import use_packed_attention
from gloss.language.scratch.steps import steps_of
from gloss.progress import Progress, silent
from gloss.training.loop import Position, TrainingRecord, train
from gloss.training.optimization import linear_warmup

__all__ = ["DocumentsOfEpoch", "train_on_packs"]

DocumentsOfEpoch = Callable[[int], list[Document]]
"""The documents of an epoch, which depend on its number alone."""


def train_on_packs(
    model: nn.Module,
    documents: DocumentsOfEpoch,
    settings: Training,
    *,
    seed: int,
    pad: int,
    checkpoint: Path,
    validate: Callable[[nn.Module], float] | None = None,
    progress: Progress = silent,
) -> TrainingRecord:
    """Train the model in place for `settings.epochs` passes, from the checkpoint if there is one.

    pad: the token that fills packs up where all have one size (steps.py); validate: gives a loss
    after each epoch. Training losses are in nats a token, with R-Drop's part in them
    (`settings.r_drop`); `TrainingRecord.units` are tokens. The checkpoint is rewritten every minute
    and at the end; removing it is the caller's.
    """
    task = _PackTask(model, documents, settings, seed, pad, validate)
    with use_packed_attention(model):
        return train(
            task,
            epochs=settings.epochs,
            seed=seed,
            seed_each="step",
            checkpoint=checkpoint,
            progress=progress,
        )


class _PackTask:
    """A `TrainingTask` whose batches are lists of documents."""

    unit = "tokens"

    def __init__(
        self,
        model: nn.Module,
        documents: DocumentsOfEpoch,
        settings: Training,
        seed: int,
        pad: int,
        validate: Callable[[nn.Module], float] | None,
    ) -> None:
        self.model = model
        self._documents, self._settings, self._seed = documents, settings, seed
        self._validate = validate
        self._steps = steps_of(model, settings, pad=pad)
        self.optimizer = self._steps.optimizer

    def batches(self, epoch: int) -> list[list[Document]]:
        rng = np.random.default_rng((self._seed, epoch, 1))
        return _packs(self._documents(epoch), self._settings.batch_tokens, rng)

    def step(self, batch: list[Document], position: Position) -> torch.Tensor:
        factor = _rate_factor(position, self._settings.warmup_steps)
        return self._steps.take(batch, self._settings.learning_rate * factor)

    def size(self, batch: list[Document]) -> int:
        return sum(map(len, batch))

    def validation_loss(self) -> float | None:
        return None if self._validate is None else self._validate(self.model)

    def load_optimizer(self, state: dict[str, Any]) -> None:
        self._steps.load_optimizer(state)


def _rate_factor(position: Position, warmup_steps: int) -> float:
    """The learning rate's factor: a linear warm-up over steps, under a linear decay over the share
    of the run that is done after this step, epochs counting alike.

    min(step / warmup_steps, 1 - share)
    """
    share = (position.epoch + (position.batch + 1) / position.batches) / position.epochs
    return min(linear_warmup(position.step, warmup_steps), 1 - share)


def _packs(
    documents: Sequence[Document], max_tokens: int, rng: np.random.Generator
) -> list[list[Document]]:
    """Documents in random order, in packs of at most so many tokens, or of one longer document.

    In order, documents of 3, 4, 2, 9 and 1 tokens make packs of at most 8 so:

        3 4 | 2 | 9 | 1
    """
    packs: list[list[Document]] = []
    room = 0
    for row in rng.permutation(len(documents)):
        document = documents[row]
        room -= len(document)
        if room < 0:
            packs.append([])
            room = max_tokens - len(document)
        packs[-1].append(document)
    return packs
