"""Cross-entropy over the whole catalogue without the matrix of all logits. Needs torch.

For hidden vectors h_1 … h_n with targets t_k and weights w_k, and item vectors v_j:

    loss = (1/n) Σ_k w_k · (log Σ_j exp(h_k · v_j) - h_k · v_{t_k})

Its gradients need the same softmax as the loss, p_kj = softmax_j(h_k · v_j), so both are made in
one pass over pieces of the positions, and no piece is kept:

    ∂loss/∂h_k = (w_k/n) (Σ_j p_kj · v_j - v_{t_k})
    ∂loss/∂v_j = (1/n) Σ_k w_k (p_kj - [j = t_k]) · h_k
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["FullSoftmax"]

_CPU_POSITIONS, _GPU_POSITIONS = 256, 8192
"""Positions whose logits, (positions, catalogue), are held at once; on a CPU they fit its cache."""

_CPU_LOGITS, _GPU_LOGITS = 1 << 25, 1 << 29
"""Logits that are held at once, 128 MiB and 2 GiB: above 131,072 and 65,536 items the positions are
fewer. A million items would take 1 and 30 GiB."""


class FullSoftmax(torch.autograd.Function):
    """The module's loss: `FullSoftmax.apply(hidden, items, targets, weights)`, a scalar.

    Equal to `(cross_entropy(hidden @ items.T, targets, reduction="none") * weights).mean()` up to
    rounding, in half the time on a CPU. On large catalogues the matrix that is avoided has
    gigabytes.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        items: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor,
    ) -> Any:
        """hidden (positions, width), items (catalogue, width), targets int64 (positions,), weights
        float (positions,) -> loss ()."""
        size = _positions_at_once(len(items), on_gpu=hidden.is_cuda)
        hidden_grad = torch.empty_like(hidden)  # (positions, width)
        items_grad = torch.zeros_like(items)  # (catalogue, width)
        loss = hidden.new_zeros(())
        for first in range(0, len(hidden), size):
            piece = slice(first, first + size)
            h, target, weight = hidden[piece], targets[piece, None], weights[piece, None]
            scores = h @ items.T  # (piece, catalogue), logits at first
            scores -= scores.amax(1, keepdim=True)  # exp of the rest cannot overflow
            target_logit = scores.gather(1, target)  # (piece, 1)
            exp_sum = scores.exp_().sum(1, keepdim=True)  # (piece, 1)
            loss += (weight * (exp_sum.log() - target_logit)).sum()
            # In place: w_k · (p_kj - [j = t_k]), what both gradients are made of.
            scores.mul_(weight / exp_sum).scatter_add_(1, target, -weight)
            torch.mm(scores, items, out=hidden_grad[piece])
            items_grad.addmm_(scores.T, h)
        ctx.save_for_backward(hidden_grad.div_(len(hidden)), items_grad.div_(len(hidden)))
        return loss / len(hidden)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Gradients of hidden and items; targets and weights have none."""
        hidden_grad, items_grad = ctx.saved_tensors
        return hidden_grad * gradients[0], items_grad * gradients[0], None, None


def _positions_at_once(items: int, *, on_gpu: bool) -> int:
    """Positions of a piece.

    >>> [_positions_at_once(items, on_gpu=False) for items in (12_000, 200_000, 10**6, 10**8)]
    [256, 167, 33, 1]
    """
    most, logits = (_GPU_POSITIONS, _GPU_LOGITS) if on_gpu else (_CPU_POSITIONS, _CPU_LOGITS)
    return max(1, min(most, logits // items))
