"""Cross-entropy over the whole catalogue without the matrix of all scores. Needs torch."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["FullSoftmax"]

_CHUNK_CPU, _CHUNK_GPU = 256, 8192
"""Positions whose scores for the whole catalogue are held at once; on a CPU they fit its cache."""


class FullSoftmax(torch.autograd.Function):
    """Weighted cross-entropy of hidden @ items.T in pieces, gradients made on the way.

    The same as the mean of `functional.cross_entropy` times the weights, in half the time on a CPU
    and without the matrix of (positions, catalogue), which is gigabytes on large catalogues.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        items: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor,
    ) -> Any:
        """hidden (positions, width), items (catalogue, width), targets int (positions,), weights
        float (positions,) -> mean."""
        chunk = _CHUNK_GPU if hidden.is_cuda else _CHUNK_CPU
        for_hidden, for_items = torch.empty_like(hidden), torch.zeros_like(items)
        loss = hidden.new_zeros(())
        for first in range(0, len(hidden), chunk):
            here = slice(first, first + chunk)
            some, target, weight = hidden[here], targets[here, None], weights[here, None]
            scores = some @ items.T
            scores -= scores.amax(1, keepdim=True)
            embedding_lookup = scores.gather(1, target)
            sums = scores.exp_().sum(1, keepdim=True)
            loss += (weight * (sums.log() - embedding_lookup)).sum()
            scores.mul_(weight / sums).scatter_add_(1, target, -weight)
            torch.mm(scores, items, out=for_hidden[here])
            for_items.addmm_(scores.T, some)
        ctx.save_for_backward(for_hidden.div_(len(hidden)), for_items.div_(len(hidden)))
        return loss / len(hidden)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Gradients for hidden and items; targets and weights have none."""
        for_hidden, for_items = ctx.saved_tensors
        return for_hidden * gradients[0], for_items * gradients[0], None, None
