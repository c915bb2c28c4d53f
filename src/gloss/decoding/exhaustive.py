"""Exact scoring: the probability of every catalogue title for a user, and the best of them.

Titles that begin alike share their beginning: each node of the trie is read once a user. Nodes come
in depth-first order, in pieces of some hundreds that are read at once; a mask lets each see its
prompt and its own ancestors. Of a piece's keys and values only those on the way to the next piece
are kept, so memory is bounded by one piece and the depth, whatever the catalogue's size.

What it costs grows with the catalogue, not with the beams: it bounds what a beam search loses.
Works with any causal language model of transformers. Knows token ids only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from gloss.decoding.beam_search import (
    added_mask,
    cache_argument,
    left_padded,
    read_logits,
    require_full_attention,
)
from gloss.decoding.beams import BeamSettings, Hypothesis
from gloss.decoding.title_trie import TitleTrie

__all__ = ["ExhaustiveSearch"]

_PIECE = 256
"""Nodes read at once for each user: more would mostly not see each other, and still cost."""
_ROWS = 2048
"""Nodes of all users that are read at once, whose logits are held."""

Told = Callable[[int], None]
"""Called with how many users are done."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some inner nodes of a trie that are read together.

    nodes, depths: (n,). kept: which entries of the piece before (its ancestors, then its nodes)
    are ancestors of this one. sees: (n, ancestors + n), what each node looks at. edges: those that
    leave these nodes; rows: (edges,) the place among the nodes of each.
    """

    nodes: torch.Tensor
    depths: torch.Tensor
    kept: torch.Tensor
    sees: torch.Tensor
    edges: torch.Tensor
    rows: torch.Tensor


class ExhaustiveSearch:
    """Scores every title of a trie."""

    def __init__(self, model: Any, settings: BeamSettings, trie: TitleTrie) -> None:
        self.model, self.settings, self.trie = model, settings, trie
        self.pieces = _pieces(trie)
        self.users = max(1, _ROWS // _PIECE)

    def search(
        self, prompts: Sequence[Sequence[int]], *, told: Told
    ) -> list[tuple[Hypothesis, ...]]:
        """The `returned` titles of the highest scores for each prompt; see `Search.search`."""
        leaves = self.trie.leaves
        lengths = self.trie.depths[leaves]
        found: list[tuple[Hypothesis, ...]] = []
        for first in range(0, len(prompts), self.users):
            scores = self.score(prompts[first : first + self.users])
            scores = scores / lengths**self.settings.length_penalty
            best, places = scores.topk(min(self.settings.returned, len(leaves)))
            for row, nodes in zip(best.tolist(), leaves[places].tolist(), strict=True):
                titles = [self.trie.path(node)[:-1] for node in nodes]
                found.append(tuple(map(Hypothesis, titles, row)))
            told(len(found))
        return found

    @torch.inference_mode()
    def score(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """The log-probability of every title, its end included: (users, `trie.leaves`)."""
        order = sorted(range(len(prompts)), key=lambda user: len(prompts[user]))
        scores = torch.empty(len(prompts), len(self.trie.leaves), device=self.model.device)
        for first in range(0, len(order), self.users):
            users = order[first : first + self.users]
            scores[users] = self._score([prompts[user] for user in users])
        return scores

    def _score(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        require_full_attention(self.model, max(map(len, prompts)) + self.trie.depth)
        reader = _Reader(self.model, prompts)
        steps = torch.empty(len(prompts), len(self.trie.tokens), device=self.model.device)
        root = slice(0, int(self.trie.starts[1]))
        steps[:, root] = reader.prompt_logits.log_softmax(-1)[:, self.trie.tokens[root]]
        for piece in self.pieces:
            logits = reader.read(piece, self.trie.tokens[piece.nodes - 1])
            chosen = logits[:, piece.rows, self.trie.tokens[piece.edges]]
            steps[:, piece.edges] = chosen - logits.logsumexp(-1)[:, piece.rows]
        return self.trie.sums(steps)[:, self.trie.leaves]


class _Reader:
    """The model's side: prompts, the way to the present piece, and the piece."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        self.model = model
        self.cache = DynamicCache()
        self.cache_name = cache_argument(model)
        tokens, self.seen = left_padded(prompts, model.device)
        self.lengths = self.seen.sum(1, keepdim=True)
        positions = (self.seen.cumsum(1) - 1).clamp_min(0)
        out = self._forward(tokens, positions, self.seen, keep=1)
        self.prompt_logits: torch.Tensor = out[:, 0]

    def read(self, piece: _Piece, tokens: torch.Tensor) -> torch.Tensor:
        """Logits after each node of a piece: (users, nodes, vocabulary)."""
        users, longest = self.seen.shape
        prompt = torch.arange(longest, device=tokens.device)
        kept = torch.cat([prompt, longest + piece.kept])
        layers: Any = self.cache.layers
        for layer in layers:
            layer.keys, layer.values = layer.keys[:, :, kept], layer.values[:, :, kept]
        nodes = len(tokens)
        sees = torch.cat(
            [self.seen[:, None].expand(-1, nodes, -1), piece.sees.expand(users, -1, -1)], dim=2
        )
        mask = added_mask(sees, self.model.dtype)
        positions = self.lengths + piece.depths - 1
        return self._forward(tokens.expand(users, -1), positions, mask, keep=0)

    def _forward(
        self, tokens: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, *, keep: int
    ) -> torch.Tensor:
        cache = {self.cache_name: self.cache}
        return read_logits(self.model, tokens, positions, mask, cache, keep=keep)


def _pieces(trie: TitleTrie) -> list[_Piece]:
    """All nodes that something follows, the root left out, in depth-first order."""
    order = _depth_first(trie)
    pieces: list[_Piece] = []
    before: list[int] = []
    for first in range(0, len(order), _PIECE):
        nodes = order[first : first + _PIECE]
        path = trie.ancestors(nodes[0])
        place = {node: number for number, node in enumerate(before)}
        pieces.append(_piece(trie, nodes, path, kept=[place[node] for node in path]))
        before = path + nodes
    return pieces


def _piece(trie: TitleTrie, nodes: list[int], path: list[int], *, kept: list[int]) -> _Piece:
    device = trie.starts.device
    entry = {node: number for number, node in enumerate(path + nodes)}
    sees = np.zeros((len(nodes), len(entry)), bool)
    chosen = torch.tensor(nodes, device=device)
    for row, (node, parent) in enumerate(zip(nodes, trie.parents[chosen].tolist(), strict=True)):
        place = entry.get(parent, -1)  # the root stands in nobody's cache but the prompt's
        if place >= len(path):
            sees[row] = sees[place - len(path)]
        else:
            sees[row, : place + 1] = True
        sees[row, entry[node]] = True
    counts = trie.starts[chosen + 1] - trie.starts[chosen]
    rows = torch.repeat_interleave(counts)
    within = torch.arange(len(rows), device=device) - (counts.cumsum(0) - counts)[rows]
    return _Piece(
        nodes=chosen,
        depths=trie.depths[chosen],
        kept=torch.tensor(kept, dtype=torch.long, device=device),
        sees=torch.from_numpy(sees).to(device),
        edges=trie.starts[chosen][rows] + within,
        rows=rows,
    )


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
