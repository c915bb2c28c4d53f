"""Training by epochs over histories of items: what SASRec and a sentence encoder have in common.

The randomness of an epoch is a function of the seed and the epoch alone, so a run that was killed
and resumed ends with the same bits. Knows networks and rows of items; nothing of what they mean.
Needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from gloss.progress import Progress, silent
from gloss.training.checkpoint import load_checkpoint, save_checkpoint

__all__ = [
    "BETAS",
    "Array",
    "HistoryLengthWeighting",
    "Loss",
    "embedding_lookup",
    "pad_sequences",
    "train_epochs",
]

Array = np.ndarray[Any, Any]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(histories, longest) rows of items, padded on the right, and the mask of real ones -> the loss"""

BETAS = (0.9, 0.98)
_WARMUP_STEPS = 100
"""Or a tenth of all, where that is less."""


class HistoryLengthWeighting:
    """How much each purchase that has to be found counts in the loss: as its history's length to a
    power, and 1 on average over all histories. 0 counts all alike; above it, those who buy much
    teach more than their share, and lists for everybody gain (docs/log.md, 2026-11-26)."""

    def __init__(self, histories: Sequence[Array], power: float) -> None:
        found = np.array([len(each) - 1 for each in histories], np.float64)
        self._power = power
        self._mean = float((found ** (1 + power)).sum() / found.sum())

    def of(self, wanted: torch.Tensor) -> torch.Tensor:
        """float32 (answers,), from the mask (histories, places) of what has to be found."""
        found = wanted.sum(1, keepdim=True).expand_as(wanted)[wanted]
        weights: torch.Tensor = found.float() ** self._power / self._mean
        return weights


def train_epochs(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    histories: Sequence[Array],
    loss: Loss,
    *,
    epochs: int,
    users: int,
    seed: int,
    checkpoint: Path,
    progress: Progress = silent,
) -> list[dict[str, float]]:
    """Train a network in place; the mean loss of each epoch, in its own unit.

    histories: int64 rows of items; a step sees `users` of them. Learning rates rise over the first
    steps and fall evenly to 0. Goes on from `checkpoint`, written after each epoch, if it is there
    and readable; removing it is the caller's. Deterministic in the seed on a CPU.
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    losses = _resumed(checkpoint, network, optimizer)
    while len(losses) < epochs:
        epoch = len(losses)
        torch.manual_seed(seed * 1_000_003 + epoch + 1)
        batches = _batches([len(each) for each in histories], users, (seed, epoch))
        total, found = len(batches) * epochs, 0.0
        warmup = min(_WARMUP_STEPS, 1 + total // 10)
        network.train()
        for number, places in enumerate(batches):
            step = epoch * len(batches) + number
            share = min(1.0, (step + 1) / warmup) * (1 - step / total)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share
            optimizer.zero_grad(set_to_none=True)
            rows, real = pad_sequences([histories[place] for place in places], _device_of(network))
            found += _stepped(optimizer, loss(rows, real))
            progress(step + 1, total, f"loss {found / (number + 1):.3f}")
        losses.append({"epoch": float(epoch + 1), "loss": found / len(batches)})
        _save(checkpoint, network, optimizer, losses)
    network.eval()
    return losses


def pad_sequences(
    histories: Sequence[Array], device: torch.device | str
) -> tuple[torch.Tensor, torch.Tensor]:
    """(histories, longest) rows padded on the right with row 0, and the mask of real ones."""
    longest = max(map(len, histories))
    rows = np.zeros((len(histories), longest), np.int64)
    real = np.zeros((len(histories), longest), bool)
    for place, each in enumerate(histories):
        rows[place, : len(each)] = each
        real[place, : len(each)] = True
    return torch.from_numpy(rows).to(device), torch.from_numpy(real).to(device)


def embedding_lookup(vectors: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """(items, width) vectors and (…) rows -> (…, width).

    Its gradients always have the same bits: those of `vectors[rows]` are summed up in any order
    where several threads work.
    """
    return functional.embedding(rows, vectors)


def _device_of(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _stepped(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> float:
    """One step down the loss, which is returned."""
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def _batches(lengths: Sequence[int], users: int, seed: tuple[int, int]) -> list[Array]:
    """Histories of about the same length together, the batches in random order."""
    rng = np.random.default_rng(seed)
    order = np.argsort(np.array(lengths) * rng.uniform(0.8, 1.25, len(lengths)), kind="stable")
    batches = [order[first : first + users] for first in range(0, len(order), users)]
    return [batches[place] for place in rng.permutation(len(batches))]


def _save(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: list[dict[str, float]],
) -> None:
    states = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
    save_checkpoint(path, {"losses": losses, **states})


def _resumed(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer
) -> list[dict[str, float]]:
    """The losses of the epochs that the checkpoint has seen; none without one."""
    saved = load_checkpoint(path)
    if saved is None:
        return []
    network.load_state_dict(saved["network"])
    optimizer.load_state_dict(saved["optimizer"])
    losses: list[dict[str, float]] = saved["losses"]
    return losses
