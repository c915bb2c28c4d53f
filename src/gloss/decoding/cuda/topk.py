"""The largest logits on a CUDA device, by Triton: the siblings of those in `cpu/topk.py`.

They look at no value on the host, so that a CUDA graph can record them.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from gloss.decoding.title_trie import TitleTrie

__all__ = ["row_topk", "trie_topk"]

_STRETCH = 256
"""Columns of a row of logits whose maximum stands for them."""
_STRETCHES_A_PROGRAM = 16


def row_topk(logits: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """See `Slots._row_topk`: log-sum-exp, largest logits and their columns.

    Logits are read once. The kernel leaves for every stretch of columns its maximum m and the sum
    s of exp(logit - m): the log-sum-exp of the row is that of m + log(s), and the `count` largest
    logits lie in the `count` stretches of the largest maxima (see `cpu/topk.py` for an example);
    only these are searched.
    """
    rows, vocabulary = logits.shape
    stretches = triton.cdiv(vocabulary, _STRETCH)
    maxima = torch.empty((rows, stretches), device=logits.device)
    sums = torch.empty_like(maxima)
    grid = (rows, triton.cdiv(stretches, _STRETCHES_A_PROGRAM))
    _stretch_maxima[grid](
        logits,
        maxima,
        sums,
        vocabulary,
        stretches,
        STRETCHES=_STRETCHES_A_PROGRAM,
        STRETCH=_STRETCH,
    )
    log_sums = torch.logsumexp(maxima + sums.log(), dim=1)  # (rows,)
    chosen = maxima.topk(min(count, stretches), dim=1).indices  # (rows, count)
    lane = torch.arange(_STRETCH, device=logits.device)
    columns = (chosen[:, :, None] * _STRETCH + lane).view(rows, -1)  # (rows, count * _STRETCH)
    values = logits.gather(1, columns.clamp_max(vocabulary - 1)).float()
    values = values.masked_fill(columns >= vocabulary, -torch.inf)
    best, order = values.topk(count, dim=1)
    return log_sums, best, columns.gather(1, order)


@triton.jit
def _stretch_maxima(
    logits, maxima, sums, vocabulary, stretches, STRETCHES: tl.constexpr, STRETCH: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    stretch = tl.program_id(1) * STRETCHES + tl.arange(0, STRETCHES)
    column = stretch[:, None] * STRETCH + tl.arange(0, STRETCH)[None, :]  # (STRETCHES, STRETCH)
    x = tl.load(logits + row * vocabulary + column, mask=column < vocabulary, other=-float("inf"))
    x = x.to(tl.float32)
    maximum = tl.max(x, 1)
    in_row = stretch < stretches
    # A stretch beyond the row is all -inf, which must not be subtracted from itself.
    row_sum = tl.sum(tl.exp(x - tl.where(in_row, maximum, 0.0)[:, None]), 1)
    tl.store(maxima + row * stretches + stretch, maximum, mask=in_row)
    tl.store(sums + row * stretches + stretch, row_sum, mask=in_row)


def trie_topk(
    logits: torch.Tensor, nodes: torch.Tensor, trie: TitleTrie, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """See `Slots._trie_topk`: largest logits inside the trie and their edges, (rows, count).

    One program a row walks over the edges of the row's node `count` times, each time for the next
    best. Most nodes have few edges; a table as wide as the most, as on a CPU, would need a look at
    the values, which a CUDA graph cannot take.
    """
    rows, vocabulary = logits.shape
    best = torch.empty((rows, count), device=logits.device)
    edges = torch.empty((rows, count), dtype=torch.int64, device=logits.device)
    _trie_topk[(rows,)](
        logits,
        nodes,
        trie.starts,
        trie.tokens,
        best,
        edges,
        vocabulary,
        COUNT=count,
        BLOCK=128,
        num_warps=1,
    )
    # Where nothing follows, the kernel names the edge after the node's last: there may be none.
    return best, edges.clamp_max(len(trie.tokens) - 1)


@triton.jit
def _trie_topk(
    logits,
    nodes,
    starts,
    tokens,
    best,
    edges,
    vocabulary,
    COUNT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    node = tl.load(nodes + row)
    first = tl.load(starts + node)
    end = tl.load(starts + node + 1)
    lane = tl.arange(0, BLOCK)
    # Each pass finds the best edge that comes after the last one found: by logit, then by edge.
    last_logit = float("inf")
    last_edge = first - 1
    for rank in range(COUNT):
        maximum = -float("inf")
        chosen = first
        for start in range(first, end, BLOCK):
            edge = start + lane
            of_node = edge < end
            token = tl.load(tokens + edge, mask=of_node, other=0)
            x = tl.load(logits + row * vocabulary + token, mask=of_node, other=-float("inf"))
            x = x.to(tl.float32)
            comes_later = (x < last_logit) | ((x == last_logit) & (edge > last_edge))
            x = tl.where(of_node & comes_later, x, -float("inf"))
            block_max, index = tl.max(x, 0, return_indices=True)
            chosen = tl.where(block_max > maximum, start + index, chosen)
            maximum = tl.maximum(block_max, maximum)
        tl.store(best + row * COUNT + rank, maximum)
        tl.store(edges + row * COUNT + rank, chosen)
        last_logit = maximum
        last_edge = chosen
