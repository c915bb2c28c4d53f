"""A training step on a pack: its loss, the gradients, and what AdamW makes of them.

On a GPU a small model's step is hundreds of kernels, each of which takes longer to launch than to
run. There all packs are filled up to one size, so that the step can be captured once as a CUDA
graph, and replayed with the next pack's tokens and the next learning rate in the same memory.

Of several processes each reads a part of the documents. Then the graph ends with the gradients:
they are added up, and change the weights, behind it.

Knows models and packs; when to take a step, and at which rate, is the training's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from gloss.arrays import owners_of
from gloss.config import Training
from gloss.language.packed_attention import has_varlen_kernel
from gloss.language.packing import Document, Pack
from gloss.language.scratch.packed_llama import PackedLlama, on_device
from gloss.training.data_parallel import Part, drawn_for_all, own_part, sum_gradients
from gloss.training.optimization import BETAS
from gloss.training.processes import process_count

__all__ = ["Steps", "steps_of"]

_STEPS_BEFORE_CAPTURE = 3
"""In these torch compiles the layers and AdamW makes its state, which a graph cannot hold."""

_SPARE_TOKENS = 256
"""Of a pack of one of several processes: parts of a batch are not equally long."""

_DOCUMENTS_MULTIPLE = 64
"""A graph has room for a multiple of this many documents."""

_Step = Callable[[Sequence[torch.Tensor]], torch.Tensor]
"""(tokens, positions, targets, bounds) of a pack -> its loss; the weights have changed then"""


class Steps(Protocol):
    """Takes one step after the other on a model."""

    optimizer: torch.optim.Optimizer

    def load_optimizer(self, state: dict[str, Any]) -> None:
        """Take over what `optimizer.state_dict()` gave in an earlier process."""
        ...

    def take(self, documents: Sequence[Document], rate: float) -> torch.Tensor:
        """One step on a pack of documents at a learning rate; the loss before it, in nats a token,
        on the model's device: whoever reads it waits."""
        ...


def steps_of(model: Any, settings: Training, *, pad: int) -> Steps:
    """Captured as a CUDA graph where the device can, eager elsewhere. pad: the token that fills
    packs up."""
    device = next(model.parameters()).device
    if device.type == "cuda" and has_varlen_kernel(device):
        return _GraphSteps(model, settings, pad)
    return _EagerSteps(model, settings)


class _EagerSteps:
    """Every pack is as long as its documents."""

    def __init__(self, model: Any, settings: Training) -> None:
        self._model, self._max_norm = model, settings.clip
        self._packed = _packed_llama(model, settings)
        self.optimizer = _adamw(model, settings, settings.learning_rate)

    def load_optimizer(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)

    def take(self, documents: Sequence[Document], rate: float) -> torch.Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        part = _part_of(documents)
        pack = Pack.of_documents([documents[row] for row in part.rows])
        with self._drawn_for_all(documents, part):
            loss = self._packed.loss(pack) * part.weight
        loss.backward()
        loss = _descend(loss, self._model, self.optimizer, self._max_norm)
        self.optimizer.zero_grad(set_to_none=True)
        return loss

    def _drawn_for_all(
        self, documents: Sequence[Document], part: Part
    ) -> AbstractContextManager[None]:
        """Masks of hidden states, (1, tokens, width), which R-Drop reads twice. Those of attention
        weights have the shapes of this process's documents, and stay its own."""
        if process_count() == 1:
            return nullcontext()
        owners = owners_of(np.array([len(document) for document in documents]))  # (tokens,)
        own, total = np.flatnonzero(np.isin(owners, part.rows)), len(owners)
        if self._packed.r_drop:
            own, total = np.concatenate([own, own + total]), 2 * total
        return drawn_for_all(own.tolist(), total, axis=1, dims=3)


class _GraphSteps:
    """Packs are filled up to one size, in the same places of the device's memory."""

    def __init__(self, model: Any, settings: Training, pad: int) -> None:
        self._model, self._max_norm, self._pad = model, settings.clip, pad
        self._device = next(model.parameters()).device
        self._packed = _packed_llama(model, settings, compiled=True)
        # In a tensor, which a graph reads at every replay; a number would be captured as it is.
        self._rate = torch.zeros((), device=self._device)
        self.optimizer = _adamw(model, settings, self._rate)
        self._pack_tokens = max(settings.batch_tokens, model.config.max_position_embeddings)
        # One process captures the whole step. Several add up gradients behind the graph, each with
        # its part of the loss, in a tensor like the rate.
        self._is_alone = process_count() == 1
        self._weight = torch.ones((), device=self._device)
        if not self._is_alone:
            self._pack_tokens = -(-settings.batch_tokens // process_count()) + _SPARE_TOKENS
        # Gradients remember the stream that they were made on: all of this stays on one.
        self._stream = torch.cuda.Stream(self._device)
        self._graph: _StepGraph | None = None

    def load_optimizer(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate  # loading has put a copy in its place

    def take(self, documents: Sequence[Document], rate: float) -> torch.Tensor:
        part = _part_of(documents)
        pack = self._filled([documents[row] for row in part.rows])
        callers_stream = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(callers_stream)
        with torch.cuda.stream(self._stream):
            self._rate.fill_(rate)
            self._weight.fill_(part.weight)
            if self._graph is None or not self._graph.has_room_for(pack):
                step = self._step if self._is_alone else self._gradients
                self._graph = _StepGraph(pack, self._device, step)
            loss = self._graph.run(pack)
            if not self._is_alone:
                loss = self._descend(loss)
        callers_stream.wait_stream(self._stream)
        return loss

    def _filled(self, documents: Sequence[Document]) -> Pack:
        # Parts of a batch are seldom longer than there is room for: packs are larger from then on.
        self._pack_tokens = max(self._pack_tokens, sum(map(len, documents)))
        return Pack.filled(documents, self._pack_tokens, self._pad)

    def _step(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        loss = self._packed.loss_of(*inputs)
        loss.backward()
        loss = self._descend(loss)
        self.optimizer.zero_grad(set_to_none=True)
        return loss

    def _gradients(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        self.optimizer.zero_grad(set_to_none=True)  # a replay writes them anew in the same places
        loss = self._packed.loss_of(*inputs) * self._weight
        loss.backward()
        return loss.detach()

    def _descend(self, loss: torch.Tensor) -> torch.Tensor:
        return _descend(loss, self._model, self.optimizer, self._max_norm)


class _StepGraph:
    """A step that runs eagerly on its first packs, is captured then, and replayed on all others.

    For packs of one size, and as many documents as there is room for.
    """

    def __init__(self, pack: Pack, device: torch.device, step: _Step) -> None:
        # A quarter more than this pack has, so that a pack of somewhat shorter documents fits too.
        multiples = 1 + len(pack.bounds) * 5 // (4 * _DOCUMENTS_MULTIPLE)
        self._bounds_size = _DOCUMENTS_MULTIPLE * multiples
        self._inputs = [on_device(device, array) for array in self._arrays(pack)]
        self._step, self._eager_steps = step, 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def has_room_for(self, pack: Pack) -> bool:
        fits = len(pack.tokens) == len(self._inputs[0])
        return fits and len(pack.bounds) <= self._bounds_size

    def run(self, pack: Pack) -> torch.Tensor:
        """The step on a pack; its loss."""
        for tensor, array in zip(self._inputs, self._arrays(pack), strict=True):
            tensor.copy_(on_device(tensor.device, array))
        if self._eager_steps < _STEPS_BEFORE_CAPTURE:
            self._eager_steps += 1
            return self._step(self._inputs)
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(
                self._graph, stream=torch.cuda.current_stream(), capture_error_mode=_capture_mode()
            ):
                self._loss = self._step(self._inputs)
        self._graph.replay()
        return self._loss.clone()  # the next replay writes over it

    def _arrays(self, pack: Pack) -> tuple[np.ndarray, ...]:
        """What a step reads of a pack, with empty documents behind the last: with room for 6
        bounds, 0 3 5 become 0 3 5 5 5 5."""
        bounds = np.pad(pack.bounds, (0, self._bounds_size - len(pack.bounds)), mode="edge")
        return pack.tokens, pack.positions, pack.targets, bounds


def _capture_mode() -> str:
    """What ends a capture: with several processes, a thread of NCCL's asks how its work stands, and
    may do so meanwhile."""
    return "global" if process_count() == 1 else "thread_local"


def _packed_llama(model: Any, settings: Training, *, compiled: bool = False) -> PackedLlama:
    return PackedLlama(model, dropout=settings.dropout, r_drop=settings.r_drop, compiled=compiled)


def _part_of(documents: Sequence[Document]) -> Part:
    return own_part(list(map(len, documents)), [document.loss_tokens for document in documents])


def _descend(
    loss: torch.Tensor, model: nn.Module, optimizer: torch.optim.Optimizer, max_norm: float
) -> torch.Tensor:
    """Change the weights by the gradients of all processes, which are clipped; returns the loss."""
    loss = sum_gradients(model, loss)
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return loss


def _adamw(
    model: nn.Module, settings: Training, rate: float | torch.Tensor
) -> torch.optim.Optimizer:
    """Matrices decay, norms do not. A rate in a tensor can change under a graph."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    norms = [p for p in model.parameters() if p.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": norms, "weight_decay": 0.0},
    ]
    captured = isinstance(rate, torch.Tensor)
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS, fused=captured, capturable=captured)
