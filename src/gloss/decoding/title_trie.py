"""The catalogue's titles as a token trie in flat arrays: what may follow, and where it leads.

Node 0 is the root. The children of a node are a run of edges, sorted by token; the last edge of a
title is the end-of-text token, so a title that begins another one is a path of its own. One extra
node, `dead`, has no children: it is where beams go that cannot be continued.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

__all__ = ["TitleTrie"]


class TitleTrie:
    """A trie over token sequences, on a device.

    starts: (nodes + 1,) int64, edges of node n are starts[n]:starts[n + 1].
    tokens: (edges,) int64.  depth: tokens of the longest title with its end.
    """

    def __init__(self, starts: torch.Tensor, tokens: torch.Tensor, *, vocabulary: int, depth: int):
        self.starts = starts
        self.tokens = tokens
        self.vocabulary = vocabulary
        self.depth = depth
        self.dead = starts.numel() - 2
        # Nodes are numbered in the order of the edges that lead to them, so edge e leads to e + 1.
        self._sources = torch.repeat_interleave(torch.arange(starts.numel() - 1), starts.diff())
        self._keys = self._sources * vocabulary + tokens

    @classmethod
    def build(cls, titles: Sequence[Sequence[int]], *, end: int, vocabulary: int) -> TitleTrie:
        """The trie of titles given as token ids, each closed by the token `end`."""
        table = _padded([[*title, end] for title in titles])
        nodes = np.zeros(len(table), np.int64)
        keys, count = [], 1
        for column in table.T:
            alive = np.flatnonzero(column >= 0)
            level, edge = np.unique(nodes[alive] * vocabulary + column[alive], return_inverse=True)
            nodes[alive] = count + edge
            keys.append(level)
            count += len(level)
        flat = np.concatenate(keys)
        # `count` nodes, then the dead one: its run of edges is empty.
        starts = np.searchsorted(flat, np.arange(count + 2, dtype=np.int64) * vocabulary)
        return cls(
            torch.from_numpy(starts),
            torch.from_numpy(flat % vocabulary),
            vocabulary=vocabulary,
            depth=table.shape[1],
        )

    def to(self, device: torch.device | str) -> TitleTrie:
        """The same trie on a device."""
        moved = object.__new__(TitleTrie)
        moved.__dict__.update(
            {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in vars(self).items()}
        )
        return moved

    def allowed(self, nodes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """For nodes (rows,): the pairs (row, token) that may follow, as two vectors."""
        first = self.starts[nodes]
        counts = self.starts[nodes + 1] - first
        rows = torch.repeat_interleave(counts)
        place = torch.arange(rows.numel(), device=nodes.device) - (counts.cumsum(0) - counts)[rows]
        return rows, self.tokens[first[rows] + place]

    @cached_property
    def parents(self) -> torch.Tensor:
        """(nodes,) the node before each; the root's is the dead one."""
        return torch.cat([self._sources.new_tensor([self.dead]), self._sources])

    @cached_property
    def levels(self) -> tuple[tuple[int, int], ...]:
        """First node and end of each level below the root: a level's nodes stand side by side."""
        made = []
        first, end = 0, 1
        while first < end:
            first, end = int(self.starts[first]) + 1, int(self.starts[end]) + 1
            made.append((first, end))
        return tuple(made[:-1])

    @cached_property
    def depths(self) -> torch.Tensor:
        """(nodes,) tokens from the root."""
        depths = torch.zeros(self.dead, dtype=torch.long, device=self.starts.device)
        for depth, (first, end) in enumerate(self.levels, 1):
            depths[first:end] = depth
        return depths

    @cached_property
    def leaves(self) -> torch.Tensor:
        """(titles,) where each distinct title has come to its end."""
        return (self.starts.diff()[: self.dead] == 0).nonzero().flatten()

    def sums(self, edges: torch.Tensor) -> torch.Tensor:
        """Sums along the way from the root to each node, (rows, nodes), of numbers of the edges."""
        sums = torch.zeros(len(edges), self.dead, dtype=edges.dtype, device=edges.device)
        for first, end in self.levels:
            above = sums[:, self.parents[first:end]]
            sums[:, first:end] = above + edges[:, first - 1 : end - 1]
        return sums

    def ancestors(self, node: int) -> list[int]:
        """The nodes between the root and this one, both left out, from above."""
        way: list[int] = []
        node = int(self.parents[node])
        while node:
            way.append(node)
            node = int(self.parents[node])
        return way[::-1]

    def path(self, node: int) -> tuple[int, ...]:
        """The tokens that lead from the root to a node."""
        ways = [*self.ancestors(node), node]
        return tuple(self.tokens[torch.tensor(ways) - 1].tolist())

    def follow(self, titles: Sequence[Sequence[int]], *, end: int) -> torch.Tensor:
        """(titles,) the node that each title with its end leads to; `dead` where none does."""
        table = torch.from_numpy(_padded([[*title, end] for title in titles]))
        nodes = torch.zeros(len(table), dtype=torch.long, device=self.starts.device)
        for column in table.to(nodes.device).T:
            nodes = torch.where(column >= 0, self.step(nodes, column), nodes)
        return nodes

    def step(self, nodes: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Where each token leads from its node, any shape; `dead` where it leads nowhere."""
        wanted = nodes * self.vocabulary + tokens
        edge = torch.searchsorted(self._keys, wanted).clamp_max(self._keys.numel() - 1)
        return torch.where(self._keys[edge] == wanted, edge + 1, self.dead)


def _padded(sequences: Sequence[Sequence[int]]) -> np.ndarray:
    lengths = np.array([len(sequence) for sequence in sequences])
    table = np.full((len(sequences), lengths.max()), -1, np.int64)
    table[np.arange(table.shape[1]) < lengths[:, None]] = np.concatenate(sequences)
    return table
