"""The log-partition of the dual encoder's softmax, exact, in bounded memory. Needs torch.

The logits of a step are (distinct purchases, candidates), and autograd keeps them more than once.
Where they would be too many, they are made for some purchases at a time, and again on the way back:
the same sums, for one more product of the logits.
"""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

from gloss.training.sequences import embedding_lookup

__all__ = ["log_partition"]

_MAX_LOGITS = 1 << 26
"""Of a piece, 256 MiB."""


def log_partition(
    queries: torch.Tensor, items: torch.Tensor, purchases: torch.Tensor, *, repeats: bool
) -> torch.Tensor:
    """log Σ_{j ≠ i} exp(q_i · v_j) for each purchase i, float32 of the shape of `purchases`; with
    repeats over all j.

    queries, items: float32 (candidates, width). Purchases that occur several times are summed over
    once.
    """
    distinct, inverse = purchases.unique(return_inverse=True)
    size = max(1, _MAX_LOGITS // len(items))
    if len(distinct) <= size:
        sums = _log_sums(queries, items, distinct, repeats)
    else:
        pieces = distinct.split(size)
        sums = torch.cat([_made_again(queries, items, piece, repeats) for piece in pieces])
    return embedding_lookup(sums[:, None], inverse).squeeze(-1)


def _made_again(
    queries: torch.Tensor, items: torch.Tensor, distinct: torch.Tensor, repeats: bool
) -> torch.Tensor:
    """`_log_sums`, of which nothing is kept for the way back but what goes in."""
    of_piece = queries, items, distinct, repeats
    sums: torch.Tensor = checkpoint(
        _log_sums, *of_piece, use_reentrant=False, preserve_rng_state=False
    )
    return sums


def _log_sums(
    queries: torch.Tensor, items: torch.Tensor, distinct: torch.Tensor, repeats: bool
) -> torch.Tensor:
    """float32 (distinct,)."""
    logits = embedding_lookup(queries, distinct) @ items.T  # (distinct, candidates)
    if not repeats:
        logits = logits.scatter(1, distinct[:, None], -torch.inf)
    return logits.logsumexp(1)
