"""A step of training: the loss of a pack, its gradients, and what the optimizer makes of them.

On a GPU a small model's step is hundreds of kernels, each of which takes longer to launch than to
run. There all packs have one size, so the step can be recorded once, as a CUDA graph, and replayed
with the next pack's tokens and the next learning rate in the same places.

Knows models and packs; when to take a step, and how large, is the training loop's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from gloss.config import Training
from gloss.language.packing import Pack, has_kernel
from gloss.language.scratch.packed_llama import PackedLlama, on_device

__all__ = ["Steps", "steps_of"]

_UNRECORDED = 3
"""Steps before the one that is recorded: layers are compiled and the optimizer's state is made."""

_ROOM = 64
"""Room for documents is made for so many at a time."""

_Step = Callable[[Sequence[torch.Tensor]], torch.Tensor]
"""(tokens, positions, targets, bounds) of a pack -> its loss, after the weights have changed"""


class Steps(Protocol):
    """Takes one step after the other on a model."""

    optimizer: torch.optim.Optimizer

    def resume(self, state: dict[str, Any]) -> None:
        """Take over the state of an optimizer, as its `state_dict` gave it."""
        ...

    def take(self, documents: Sequence[np.ndarray], rate: float) -> torch.Tensor:
        """One step on a pack of documents at a learning rate; the loss before it, in nats a token,
        on the model's device: who reads it waits."""
        ...


def steps_of(model: Any, settings: Training, *, pad: int) -> Steps:
    """Recorded where the device can, one by one elsewhere. pad: the token that fills packs up."""
    first = next(model.parameters())
    if first.is_cuda and has_kernel(first.device):
        return _Recorded(model, settings, pad)
    return _OneByOne(model, settings)


class _OneByOne:
    """Every pack as long as its documents."""

    def __init__(self, model: Any, settings: Training) -> None:
        self._model, self._clip = model, settings.clip
        self._reader = _reader(model, settings)
        self.optimizer = _adamw(model, settings, settings.learning_rate)

    def resume(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)

    def take(self, documents: Sequence[np.ndarray], rate: float) -> torch.Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._reader.loss(Pack.of(documents))
        return _descended(loss, self._model, self.optimizer, self._clip)


class _Recorded:
    """Packs filled up to one size, in the same places of the device's memory."""

    def __init__(self, model: Any, settings: Training, pad: int) -> None:
        self._model, self._clip, self._pad = model, settings.clip, pad
        self._device = next(model.parameters()).device
        self._reader = _reader(model, settings, compiled=True)
        self._rate = torch.zeros((), device=self._device)
        self.optimizer = _adamw(model, settings, self._rate)
        self._size = max(settings.batch_tokens, model.config.max_position_embeddings)
        # Gradients remember the stream that they were made on: all of this stays on one.
        self._stream = torch.cuda.Stream(self._device)
        self._recording: _Recording | None = None

    def resume(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate

    def take(self, documents: Sequence[np.ndarray], rate: float) -> torch.Tensor:
        pack = Pack.filled(documents, self._size, self._pad)
        outside = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            self._rate.fill_(rate)
            if self._recording is None or not self._recording.has_room_for(pack):
                self._recording = _Recording(pack, self._device, self._step)
            loss = self._recording.play(pack)
        outside.wait_stream(self._stream)
        return loss

    def _step(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        loss = self._reader.loss_of(*inputs)
        return _descended(loss, self._model, self.optimizer, self._clip)


class _Recording:
    """A step that is run on its first packs, then recorded, and replayed on all others.

    For packs of one size, and as many documents as there is room for.
    """

    def __init__(self, pack: Pack, device: torch.device, step: _Step) -> None:
        self._room = _ROOM * (1 + len(pack.bounds) * 5 // (4 * _ROOM))
        self._inputs = [on_device(device, values) for values in self._filled(pack)]
        self._step, self._run = step, 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def has_room_for(self, pack: Pack) -> bool:
        return len(pack.bounds) <= self._room

    def play(self, pack: Pack) -> torch.Tensor:
        """The step on a pack; its loss."""
        for held, values in zip(self._inputs, self._filled(pack), strict=True):
            held.copy_(on_device(held.device, values))
        if self._run < _UNRECORDED:
            self._run += 1
            return self._step(self._inputs)
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=torch.cuda.current_stream()):
                self._loss = self._step(self._inputs)
        self._graph.replay()
        return self._loss.clone()

    def _filled(self, pack: Pack) -> tuple[np.ndarray, ...]:
        """What a step reads of a pack, with documents of no token behind the last."""
        bounds = np.pad(pack.bounds, (0, self._room - len(pack.bounds)), mode="edge")
        return pack.tokens, pack.positions, pack.targets, bounds


def _reader(model: Any, settings: Training, *, compiled: bool = False) -> PackedLlama:
    return PackedLlama(model, dropout=settings.dropout, r_drop=settings.r_drop, compiled=compiled)


def _descended(
    loss: torch.Tensor, model: nn.Module, optimizer: torch.optim.Optimizer, clip: float
) -> torch.Tensor:
    """One step down the loss, which is returned."""
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach()


def _adamw(
    model: nn.Module, settings: Training, rate: float | torch.Tensor
) -> torch.optim.Optimizer:
    """Matrices decay, norms do not. A rate in a tensor can change under a recording."""
    weights = [p for p in model.parameters() if p.dim() >= 2]
    norms = [p for p in model.parameters() if p.dim() < 2]
    groups = [
        {"params": weights, "weight_decay": settings.weight_decay},
        {"params": norms, "weight_decay": 0.0},
    ]
    recorded = isinstance(rate, torch.Tensor)
    return torch.optim.AdamW(
        groups, lr=rate, betas=(0.9, 0.98), fused=recorded, capturable=recorded
    )
