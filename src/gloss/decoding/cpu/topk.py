"""The largest logits on a CPU: the siblings of those in `cuda/topk.py`."""

from __future__ import annotations

import torch

from gloss.decoding.title_trie import TitleTrie

__all__ = ["row_topk", "trie_topk"]

_STRETCH = 64
"""Columns whose maximum stands for them."""


def row_topk(
    logits: torch.Tensor, count: int, *, stretch: int = _STRETCH
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """See `Slots._row_topk`: log-sum-exp, largest logits and their columns.

    The row is cut into stretches. The `count` largest lie in the `count` stretches of the largest
    maxima (before any other stretch's largest come that many numbers), and only these are searched:
    a maximum is found many times faster than an order. With stretches of 2:

        logits      3 1 | 9 2 | 8 7 | 0 5 | 6    the last column belongs to no stretch
        maxima        3     9     8     5
        searched          9 2 | 8 7       | 6

    >>> logits = torch.tensor([[3.0, 1, 9, 2, 8, 7, 0, 5, 6]])
    >>> log_sums, best, columns = row_topk(logits, 2, stretch=2)
    >>> best.tolist(), columns.tolist()
    ([[9.0, 8.0]], [[2, 4]])
    """
    log_sums = logits.logsumexp(1)  # (rows,)
    stretches = logits.shape[1] // stretch
    if count == 0 or stretches <= count:
        best, columns = logits.topk(count)
        return log_sums, best, columns
    covered = stretches * stretch
    maxima = logits[:, :covered].unflatten(1, (stretches, stretch)).amax(2)  # (rows, stretches)
    chosen = maxima.topk(count, sorted=False).indices  # (rows, count)
    columns = (chosen[:, :, None] * stretch + torch.arange(stretch)).flatten(1)
    rest = torch.arange(covered, logits.shape[1]).expand(len(logits), -1)
    columns = torch.cat([columns, rest], dim=1)  # (rows, count * stretch + rest)
    best, order = logits.gather(1, columns).topk(count)
    return log_sums, best, columns.gather(1, order)


def trie_topk(
    logits: torch.Tensor, nodes: torch.Tensor, trie: TitleTrie, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """See `Slots._trie_topk`: largest logits inside the trie and their edges.

    Rows have as many edges as their nodes have children: they are gathered into a table as wide as
    the most children, and what lies beyond a row's own edges is -inf.

    >>> trie = TitleTrie.build([[1, 2], [1, 3], [4]], end=0, vocabulary=5)
    >>> logits = torch.tensor([[9.0, 1, 9, 9, 2], [9, 9, 3, 4, 9]])
    >>> best, edges = trie_topk(logits, torch.tensor([0, 1]), trie, 2)  # the root, after [1]
    >>> best.tolist(), trie.tokens[edges].tolist()
    ([[2.0, 1.0], [4.0, 3.0]], [[4, 1], [3, 2]])
    """
    first = trie.starts[nodes][:, None]  # (rows, 1), a row's edges are first:first + children
    children = trie.starts[nodes + 1][:, None] - first  # (rows, 1)
    lane = torch.arange(max(1, int(children.max())))
    edges = (first + lane).clamp_max(len(trie.tokens) - 1)  # (rows, most children)
    inside = logits.gather(1, trie.tokens[edges]).masked_fill(lane >= children, -torch.inf)
    best, order = inside.topk(min(count, inside.shape[1]))
    return best, edges.gather(1, order)
