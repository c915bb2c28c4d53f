"""Exact scoring: the probability of every catalogue title for a user, and the best of them.

Titles that begin alike share their beginning: each node of the trie is read once a user. Nodes come
in depth-first order, in pieces of some hundreds that are read at once; a mask lets each attend to
its prompt and its own ancestors, as in `beam_search`. Of a piece's keys and values only those of
the ancestors of the next piece are kept, so that memory is bounded by one piece and the depth,
whatever the catalogue's size.

What it costs grows with the catalogue, not with the beams: it bounds what a beam search loses.
Works with any causal language model of transformers. Knows token ids only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from gloss.decoding.beam_search import (
    additive_mask,
    cache_argument,
    left_padded,
    read_logits,
    require_full_attention,
)
from gloss.decoding.beams import BeamSettings, Hypothesis
from gloss.decoding.search import OnFinished, SearchResults
from gloss.decoding.title_trie import TitleTrie
from gloss.progress import Progress, silent

__all__ = ["ExhaustiveSearch"]

_PIECE_NODES = 256
"""Nodes read at once for each user: more would mostly not attend to each other, and still cost."""
_BATCH_NODES = 2048
"""Nodes of all users that are read at once, whose logits are held."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some inner nodes of a trie that are read together.

    nodes, depths: (n,). kept: (ancestors,) which entries of the piece before (its ancestors, then
    its nodes) are ancestors of this one. attends: (n, ancestors + n), to which entries each node
    attends. edges: those that leave these nodes; rows: (edges,) the index of the node that each
    leaves.

    For the trie of title_trie.py in pieces of two, the inner nodes in depth-first order are
    1, 4 | 8, 2 | 5, 6. The second piece keeps 1 and 4, the ancestors of 8:

        entry of       1   4 | 8   2
        node 8         x   x   x
        node 2                     x
    """

    nodes: torch.Tensor
    depths: torch.Tensor
    kept: torch.Tensor
    attends: torch.Tensor
    edges: torch.Tensor
    rows: torch.Tensor


class ExhaustiveSearch:
    """Scores every title of a trie."""

    def __init__(self, model: Any, settings: BeamSettings, trie: TitleTrie) -> None:
        self.model, self.settings, self.trie = model, settings, trie
        self.pieces = _pieces(trie)
        self.batch_users = max(1, _BATCH_NODES // _PIECE_NODES)

    def search(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        progress: Progress = silent,
        on_finished: OnFinished | None = None,
    ) -> SearchResults:
        """The `returned` titles of the highest scores for each prompt; see `Search.search`.

        No title is finished before all are: on_finished is not called.
        """
        results: SearchResults = []
        for first in range(0, len(prompts), self.batch_users):
            results += self._best(self.score(prompts[first : first + self.batch_users]))
            progress(len(results), len(prompts))
        return results

    def within(self, trie: TitleTrie) -> ExhaustiveSearch:
        """See `Search.within`."""
        return ExhaustiveSearch(self.model, self.settings, trie)

    def _best(self, scores: torch.Tensor) -> SearchResults:
        """The best titles of each row of log-probabilities, (users, leaves)."""
        leaves = self.trie.leaves
        scores = scores / self.trie.depths[leaves] ** self.settings.length_penalty
        best, order = scores.topk(min(self.settings.returned, len(leaves)))
        return [
            tuple(
                Hypothesis(self.trie.path(node)[:-1], score)
                for node, score in zip(*row, strict=True)
            )
            for row in zip(leaves[order].tolist(), best.tolist(), strict=True)
        ]

    @torch.inference_mode()
    def score(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """The log-probability of every title, its end included: (users, `trie.leaves`)."""
        order = sorted(range(len(prompts)), key=lambda user: len(prompts[user]))
        scores = torch.empty(len(prompts), len(self.trie.leaves), device=self.model.device)
        for first in range(0, len(order), self.batch_users):
            users = order[first : first + self.batch_users]
            scores[users] = self._score([prompts[user] for user in users])
        return scores

    def _score(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        require_full_attention(self.model, max(map(len, prompts)) + self.trie.depth)
        reader = _PieceReader(self.model, prompts)
        # (users, edges): log p(token of the edge | prompt, path to the edge)
        log_probs = torch.empty(len(prompts), len(self.trie.tokens), device=self.model.device)
        root = slice(0, int(self.trie.starts[1]))
        log_probs[:, root] = reader.prompt_logits.log_softmax(-1)[:, self.trie.tokens[root]]
        for piece in self.pieces:
            logits = reader.read(piece, self.trie.tokens[piece.nodes - 1])
            of_edges = logits[:, piece.rows, self.trie.tokens[piece.edges]]  # (users, edges)
            log_probs[:, piece.edges] = of_edges - logits.logsumexp(-1)[:, piece.rows]
        return self.trie.sums(log_probs)[:, self.trie.leaves]


class _PieceReader:
    """The model's side: the cache holds prompts, ancestors of the present piece, and the piece."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        self.model = model
        self.cache = DynamicCache()
        self.cache_name = cache_argument(model)
        tokens, self.in_prompt = left_padded(prompts, model.device)  # (users, longest)
        self.lengths = self.in_prompt.sum(1, keepdim=True)  # (users, 1)
        positions = (self.in_prompt.cumsum(1) - 1).clamp_min(0)
        logits = self._forward(tokens, positions, self.in_prompt, keep=1)
        self.prompt_logits: torch.Tensor = logits[:, 0]  # (users, vocabulary)

    def read(self, piece: _Piece, tokens: torch.Tensor) -> torch.Tensor:
        """Logits (users, nodes, vocabulary) after each node of a piece; tokens: (nodes,)."""
        self._keep(piece.kept)
        users, nodes = len(self.in_prompt), len(tokens)
        attends = torch.cat(
            [
                self.in_prompt[:, None].expand(-1, nodes, -1),
                piece.attends.expand(users, -1, -1),
            ],
            dim=2,
        )  # (users, nodes, longest + ancestors + nodes)
        mask = additive_mask(attends, self.model.dtype)
        positions = self.lengths + piece.depths - 1  # (users, nodes)
        return self._forward(tokens.expand(users, -1), positions, mask, keep=0)

    def _keep(self, entries: torch.Tensor) -> None:
        """Drop all entries of the last piece and its ancestors but these."""
        longest = self.in_prompt.shape[1]
        prompt = torch.arange(longest, device=entries.device)
        kept = torch.cat([prompt, longest + entries])
        layers: Any = self.cache.layers
        for layer in layers:
            layer.keys, layer.values = layer.keys[:, :, kept], layer.values[:, :, kept]

    def _forward(
        self, tokens: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, *, keep: int
    ) -> torch.Tensor:
        cache = {self.cache_name: self.cache}
        return read_logits(self.model, tokens, positions, mask, cache, keep=keep)


def _pieces(trie: TitleTrie) -> list[_Piece]:
    """All nodes that something follows, the root left out, in depth-first order.

    In this order the ancestors of a piece's first node are the only nodes outside of the piece that
    its nodes descend from, and all of them stand in the piece before or among its ancestors.
    """
    order = _depth_first(trie)
    pieces: list[_Piece] = []
    before: list[int] = []  # nodes of the entries that the piece before leaves in the cache
    for first in range(0, len(order), _PIECE_NODES):
        nodes = order[first : first + _PIECE_NODES]
        ancestors = trie.ancestors(nodes[0])
        entry_of = {node: entry for entry, node in enumerate(before)}
        kept = [entry_of[node] for node in ancestors]
        pieces.append(_piece(trie, nodes, ancestors, kept=kept))
        before = ancestors + nodes
    return pieces


def _piece(trie: TitleTrie, nodes: list[int], ancestors: list[int], *, kept: list[int]) -> _Piece:
    device = trie.starts.device
    on_device = torch.tensor(nodes, device=device)
    rows, edges = trie.edges_of(on_device)
    return _Piece(
        nodes=on_device,
        depths=trie.depths[on_device],
        kept=torch.tensor(kept, dtype=torch.long, device=device),
        attends=torch.from_numpy(_attends(trie, nodes, ancestors)).to(device),
        edges=edges,
        rows=rows,
    )


def _attends(trie: TitleTrie, nodes: list[int], ancestors: list[int]) -> np.ndarray:
    """(nodes, ancestors + nodes): a node attends to itself and to what its parent attends to."""
    entry_of = {node: entry for entry, node in enumerate(ancestors + nodes)}
    attends = np.zeros((len(nodes), len(entry_of)), bool)
    parents = trie.parents[torch.tensor(nodes, device=trie.starts.device)].tolist()
    for row, (node, parent) in enumerate(zip(nodes, parents, strict=True)):
        entry = entry_of.get(parent, -1)  # -1: the root, which has no entry
        if entry >= len(ancestors):
            attends[row] = attends[entry - len(ancestors)]
        else:  # an ancestor of the piece attends to those above it, which stand before it
            attends[row, : entry + 1] = True
        attends[row, entry_of[node]] = True
    return attends


def _depth_first(trie: TitleTrie) -> list[int]:
    starts = trie.starts.tolist()
    order: list[int] = []
    waiting = [0]
    while waiting:
        node = waiting.pop()
        children = range(starts[node] + 1, starts[node + 1] + 1)
        if node and children:
            order.append(node)
        waiting.extend(reversed(children))
    return order
