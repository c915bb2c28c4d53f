"""The catalogue's titles as a token trie in flat arrays: what may follow, and where it leads.

Node 0 is the root. The children of a node are a run of edges, sorted by token; the last edge of a
title is the end-of-text token, so that a title that begins another one is a path of its own. Nodes
are numbered level by level, in the order of the edges that lead to them: edge e leads to node
e + 1. One extra node, `dead`, has no children: it is where beams go that cannot be continued.

Five titles over the tokens 1 to 4, with 0 for the end: [1], [1 2], [1 2 3], [4 2], [4 4].

    level 1      edge    0  1           tokens 1 4
                 node    1  2
    level 2      edge    2  3  4  5     tokens 0 2 | 2 4         children of the nodes 1 | 2
                 node    3  4  5  6
    level 3      edge    6  7  8  9     tokens 0 3 | 0 | 0       children of the nodes 4 | 5 | 6
                 node    7  8  9 10
    level 4      edge   10              tokens 0                 child of the node 8
                 node   11

>>> trie = TitleTrie.build([[1], [1, 2], [1, 2, 3], [4, 2], [4, 4]], end=0, vocabulary=5)
>>> trie.tokens.tolist()
[1, 4, 0, 2, 2, 4, 0, 3, 0, 0, 0]
>>> trie.starts.tolist()  # node 3, where the title [1] has ended, has no children: 6 to 6
[0, 2, 4, 6, 6, 8, 9, 10, 10, 11, 11, 11, 11, 11]
>>> trie.leaves.tolist(), [trie.path(leaf) for leaf in trie.leaves.tolist()]
([3, 7, 9, 10, 11], [(1, 0), (1, 2, 0), (4, 2, 0), (4, 4, 0), (1, 2, 3, 0)])
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

__all__ = ["TitleTrie"]


class TitleTrie:
    """A trie over token sequences, on a device.

    starts: (nodes + 2,) int64, the edges of node n are starts[n]:starts[n + 1]; the last node is
    `dead`. tokens: (edges,) int64, of each edge. depth: tokens of the longest title with its end.
    """

    def __init__(self, starts: torch.Tensor, tokens: torch.Tensor, *, vocabulary: int, depth: int):
        self.starts = starts
        self.tokens = tokens
        self.vocabulary = vocabulary
        self.depth = depth
        self.dead = starts.numel() - 2
        # (edges,) the node that an edge leaves, and one number for node and token: sorted, so that
        # a binary search finds an edge.
        self._sources = torch.repeat_interleave(torch.arange(starts.numel() - 1), starts.diff())
        self._keys = self._sources * vocabulary + tokens

    @classmethod
    def build(cls, titles: Sequence[Sequence[int]], *, end: int, vocabulary: int) -> TitleTrie:
        """The trie of titles given as token ids, each closed by the token `end`.

        Level by level: titles that stand at the same node and go on with the same token share an
        edge, which is a distinct value of node * vocabulary + token.
        """
        table = _padded([[*title, end] for title in titles])  # (titles, depth), -1 after the end
        nodes = np.zeros(len(table), np.int64)  # where each title stands
        keys, count = [], 1
        for column in table.T:
            unfinished = np.flatnonzero(column >= 0)
            level, edge = np.unique(
                nodes[unfinished] * vocabulary + column[unfinished], return_inverse=True
            )
            nodes[unfinished] = count + edge
            keys.append(level)
            count += len(level)
        flat = np.concatenate(keys)  # sorted: a later level has larger node numbers
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
        for name, value in vars(self).items():
            moved.__dict__[name] = value.to(device) if isinstance(value, torch.Tensor) else value
        return moved

    def allowed(self, nodes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """For nodes (rows,): the pairs (row, token) that may follow, as two vectors.

        In the example above, the nodes 1 and 4 have the edges 2:4 and 6:8:

        >>> trie = TitleTrie.build([[1], [1, 2], [1, 2, 3], [4, 2], [4, 4]], end=0, vocabulary=5)
        >>> rows, tokens = trie.allowed(torch.tensor([1, 4]))
        >>> rows.tolist(), tokens.tolist()
        ([0, 0, 1, 1], [0, 2, 0, 3])
        """
        rows, edges = self.edges_of(nodes)
        return rows, self.tokens[edges]

    def edges_of(self, nodes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """For nodes (rows,): the pairs (row, edge) of all their edges, as two vectors.

        The runs 2:4, 6:6 and 6:9 become

            row     0 0   2 2 2      which run
            index   0 1   0 1 2      how far in it: counted over all, less what came before the run
            edge    2 3   6 7 8
        """
        first = self.starts[nodes]
        counts = self.starts[nodes + 1] - first
        rows = torch.repeat_interleave(counts)
        before = counts.cumsum(0) - counts
        index = torch.arange(rows.numel(), device=nodes.device) - before[rows]
        return rows, first[rows] + index

    @cached_property
    def parents(self) -> torch.Tensor:
        """(nodes,) the node before each; the root's is the dead one."""
        return torch.cat([self._sources.new_tensor([self.dead]), self._sources])

    @cached_property
    def levels(self) -> tuple[tuple[int, int], ...]:
        """First node and end of each level below the root: (1, 3), (3, 7), … in the example."""
        levels = []
        first, end = 0, 1
        while first < end:
            first, end = int(self.starts[first]) + 1, int(self.starts[end]) + 1
            levels.append((first, end))
        return tuple(levels[:-1])

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
        """Sums of edge values, (rows, edges), along the path from the root to each node.

        Returns (rows, nodes). A node's sum is its parent's and its own edge's: one pass a level.
        """
        sums = torch.zeros(len(edges), self.dead, dtype=edges.dtype, device=edges.device)
        for first, end in self.levels:
            above = sums[:, self.parents[first:end]]
            sums[:, first:end] = above + edges[:, first - 1 : end - 1]
        return sums

    def ancestors(self, node: int) -> list[int]:
        """The nodes between the root and this one, both left out, from above."""
        ancestors: list[int] = []
        node = int(self.parents[node])
        while node:
            ancestors.append(node)
            node = int(self.parents[node])
        return ancestors[::-1]

    def path(self, node: int) -> tuple[int, ...]:
        """The tokens that lead from the root to a node."""
        nodes = [*self.ancestors(node), node]
        return tuple(self.tokens[torch.tensor(nodes) - 1].tolist())

    def follow(self, titles: Sequence[Sequence[int]], *, end: int) -> torch.Tensor:
        """(titles,) the node that each title with its end leads to; `dead` where none does."""
        table = torch.from_numpy(_padded([[*title, end] for title in titles]))
        nodes = torch.zeros(len(table), dtype=torch.long, device=self.starts.device)
        for column in table.to(nodes.device).T:
            nodes = torch.where(column >= 0, self.step(nodes, column), nodes)
        return nodes

    def step(self, nodes: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Where each token leads from its node, any shape; `dead` where it leads nowhere."""
        keys = nodes * self.vocabulary + tokens
        edges = torch.searchsorted(self._keys, keys).clamp_max(self._keys.numel() - 1)
        return torch.where(self._keys[edges] == keys, edges + 1, self.dead)


def _padded(sequences: Sequence[Sequence[int]]) -> np.ndarray:
    """(sequences, longest) int64, -1 after each end.

    >>> _padded([[7, 8, 9], [5]]).tolist()
    [[7, 8, 9], [5, -1, -1]]
    """
    lengths = np.array([len(sequence) for sequence in sequences])
    table = np.full((len(sequences), lengths.max()), -1, np.int64)
    table[np.arange(table.shape[1]) < lengths[:, None]] = np.concatenate(sequences)
    return table
