"""A training step of several processes: each reads a part of the batch, all change the weights
alike. Needs torch.

With n_p targets in the part of process p, of N in all, and its mean loss L_p, the loss of the batch
is the mean over its targets, however they are dealt out:

    L = Σ_p (n_p / N) · L_p        and so are its gradients

Each process passes (n_p / N) · L_p backwards; `sum_gradients` adds up what comes of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import distributed, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gloss.errors import InputError
from gloss.training.processes import join_processes, peers_named, process_count, process_number

__all__ = [
    "Part",
    "agree_on_start",
    "drawn_for_all",
    "gather_rows",
    "own_part",
    "sum_gradients",
    "sum_over_processes",
]


@dataclass(frozen=True, slots=True)
class Part:
    """A process's part of a batch. rows: of its elements, ascending; weight: n_p / N.

    A process for which there is no element reads the first one with the weight 0.
    """

    rows: list[int]
    weight: float


def own_part(sizes: Sequence[int], targets: Sequence[int]) -> Part:
    """This process's part of a batch whose elements have these sizes and numbers of targets: parts
    have about the same size. With one process it is the batch."""
    if process_count() == 1:
        return Part(list(range(len(sizes))), 1.0)
    rows = _dealt(sizes, process_count())[process_number()]
    weight = sum(targets[row] for row in rows) / sum(targets)
    return Part(rows, weight) if rows else Part([0], 0.0)


def _dealt(sizes: Sequence[int], count: int) -> list[list[int]]:
    """Rows dealt out from the largest to the smallest, forth and back.

    >>> _dealt([5, 9, 7, 8, 6], 2)
    [[0, 1, 4], [2, 3]]
    """
    order = np.argsort(-np.asarray(sizes), kind="stable")
    rounds, places = np.divmod(np.arange(len(order)), count)
    owners = np.where(rounds % 2 == 0, places, count - 1 - places)
    return [sorted(order[owners == number].tolist()) for number in range(count)]


def sum_gradients(model: nn.Module, loss: torch.Tensor) -> torch.Tensor:
    """Add up the gradients of all processes, in place, and their losses, (), which is returned.

    Everybody gets the same bits. With one process nothing is done.
    """
    loss = loss.detach()
    if process_count() == 1:
        return loss
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    # One message: its parts are small beside the time that a message takes.
    flat = torch.cat([*(gradient.flatten() for gradient in gradients), loss.float().flatten()])
    _add_up(flat)
    parts = flat.split([*(gradient.numel() for gradient in gradients), 1])
    torch._foreach_copy_(
        gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=False)]
    )
    total: torch.Tensor = parts[-1].view(()).clone()
    return total


def sum_over_processes(value: float) -> float:
    """The sum of what all processes give."""
    if process_count() == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64)
    _add_up(total)
    return float(total)


def gather_rows(own: torch.Tensor, rows: torch.Tensor, total: int) -> torch.Tensor:
    """The whole of a tensor, (total, width), of which each process has some rows; gradients go back
    to those who made them. With one process it has all, in any order.

    own: (rows, width); rows: int64 (rows,), on any device.
    """
    gathered: torch.Tensor = _GatherRows.apply(  # type: ignore[no-untyped-call]
        own, rows.to(own.device), total
    )
    return gathered


class _GatherRows(torch.autograd.Function):
    """`gather_rows`. Every row has one maker, so a sum with zeros keeps its bits."""

    @staticmethod
    def forward(ctx: Any, own: torch.Tensor, rows: torch.Tensor, total: int) -> torch.Tensor:
        """own (rows, width), rows int64 (rows,) -> (total, width)."""
        ctx.save_for_backward(rows)
        whole = own.new_zeros((total, own.shape[1])).index_copy(0, rows, own)
        _add_up(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (rows,) = ctx.saved_tensors
        gradient = gradients[0].clone()
        _add_up(gradient)
        return gradient[rows], None, None


def agree_on_start(model: nn.Module, step: int) -> None:
    """Give all processes the first one's weights. Raises InputError if they do not begin at the
    same step, which they do where they see the same checkpoint."""
    if process_count() == 1:
        return
    if sum_over_processes(step) != step * process_count():
        raise InputError(
            "the processes see different checkpoints: give them one output folder, on a disk that "
            "all hosts share"
        )
    with peers_named():
        for weights in model.state_dict().values():
            distributed.broadcast(weights, src=0)


@contextmanager
def drawn_for_all(rows: Sequence[int], total: int, *, axis: int, dims: int = 0) -> Iterator[None]:
    """Draw dropout masks for the whole batch, and take this process's rows of them: on a CPU, a
    step has the same masks whatever the number of processes.

    rows, total: the places of this process along `axis`, of all. dims: only masks of so many
    dimensions; 0 for all. On a GPU each process draws masks of its own (`seed_torch`).
    """
    if process_count() == 1:
        yield
        return
    with _DrawnForAll(torch.tensor(rows), total, axis, dims):
        yield


class _DrawnForAll(TorchDispatchMode):
    """Every mask that dropout draws on a CPU inside of it, attention's included."""

    def __init__(self, rows: torch.Tensor, total: int, axis: int, dims: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rows, self._total, self._axis, self._dims = rows, total, axis, dims

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is not torch.ops.aten.bernoulli_.float or not self._concerns(args[0]):
            return func(*args, **(kwargs or {}))
        mask, kept = args[0], args[1]
        shape = [*mask.shape]
        shape[self._axis] = self._total
        # In the order in which the mask lies in memory, in which it is drawn.
        strides = mask.stride()
        layout = sorted(range(mask.dim()), key=lambda dim: (-strides[dim], -mask.shape[dim]))
        whole = torch.empty_permuted(shape, layout, dtype=mask.dtype).bernoulli_(kept)
        return mask.copy_(whole.index_select(self._axis, self._rows))

    def _concerns(self, mask: torch.Tensor) -> bool:
        return mask.device.type == "cpu" and self._dims in (0, mask.dim())


def _add_up(tensor: torch.Tensor) -> None:
    """Replace a tensor by the sum of everybody's."""
    if process_count() > 1:
        join_processes()
        with peers_named():
            distributed.all_reduce(tensor)
