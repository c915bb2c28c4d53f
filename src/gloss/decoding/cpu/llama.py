"""A Llama-like model's forward pass for decoding on a CPU: the sibling of `cuda/llama.py`.

Every matrix product is one over all tokens at hand; attention goes slot by slot over the entries
that the slot really holds, so that prompts of any lengths and users at any step stand side by side
without padding. Knows slots and tokens; knows nothing of beam search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from gloss.decoding.cpu.products import Product, product
from gloss.decoding.llama import Cache, Layer, SlotLlama

__all__ = ["CpuLlama"]

Attend = Callable[[int, torch.Tensor], torch.Tensor]
"""(layer, rotated queries) -> attention's output, both (tokens, query heads, head)."""


@dataclass(frozen=True, slots=True)
class _Products:
    """One layer's matrix products; gate ends with SiLU."""

    qkv: Product
    out: Product
    gate: Product
    up: Product
    down: Product

    @classmethod
    def of(cls, layer: Layer) -> _Products:
        gate, up = layer.gate_up.chunk(2)
        return cls(
            product(layer.qkv),
            product(layer.out),
            product(gate, silu=True),
            product(up),
            product(layer.down),
        )


@dataclass(frozen=True, slots=True)
class _Tokens:
    """Tokens that are read together, each (tokens,): their ids, positions, slots and entries."""

    ids: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    entries: torch.Tensor


class CpuLlama(SlotLlama):
    """Reads prompts and tokens into the slots of a `Cache`."""

    def __init__(self, model: Any, *, positions: int) -> None:
        """positions: rows of the rotary table."""
        super().__init__(model, positions=positions)
        with torch.inference_mode():
            self.products = [_Products.of(layer) for layer in self.layers]
            self._output = product(self.output)

    def read_tokens(
        self,
        tokens: torch.Tensor,
        cache: Cache,
        slots: Sequence[int],
        lengths: torch.Tensor,
        steps: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """Read one token a beam for some slots, (users, beams); logits (users * beams, vocabulary).

        lengths: (users,) tokens of the prompts; steps: (users,) tokens of each beam, this one
        included; mask: (users, beams, capacity), 0 for the entries that a beam attends to, its own
        included, -inf elsewhere.
        """
        users, beams = tokens.shape
        entries = (lengths + (steps - 1) * beams)[:, None] + torch.arange(beams)  # (users, beams)
        read = _Tokens(
            tokens.flatten(),
            (lengths + steps - 1).repeat_interleave(beams),
            torch.tensor(slots).repeat_interleave(beams),
            entries.flatten(),
        )
        ends = (lengths + steps * beams).tolist()  # entries that each slot holds
        group = self.query_heads // self.key_heads
        shape = (users, beams, self.key_heads, group, self.head)
        # The query heads that share a key head stand beside the beams, as more queries.
        masks = [
            mask[user, :, :end].expand(group, -1, -1).reshape(1, 1, group * beams, end)
            for user, end in enumerate(ends)
        ]

        def attend(layer: int, queries: torch.Tensor) -> torch.Tensor:
            keys, values = cache.keys[layer], cache.values[layer]
            # (users, key heads, group * beams, head)
            grouped = queries.view(shape).permute(0, 2, 3, 1, 4).flatten(2, 3)
            outputs = [
                functional.scaled_dot_product_attention(
                    grouped[user : user + 1],
                    keys[slot : slot + 1, :, :end],
                    values[slot : slot + 1, :, :end],
                    attn_mask=masks[user],
                )
                for user, (slot, end) in enumerate(zip(slots, ends, strict=True))
            ]
            output = torch.cat(outputs).view(users, self.key_heads, group, beams, self.head)
            return output.permute(0, 3, 1, 2, 4)  # (users, beams, key heads, group, head)

        return self._logits(self._run(read, cache, attend))

    def _read(
        self, tails: Sequence[Sequence[int]], cache: Cache, slots: Sequence[int], *, prefix: int
    ) -> torch.Tensor:
        """See `SlotLlama._read`. With a prefix of 2, tails of 3 and 2 tokens in slots 7 and 4:

        ids          a b c   d e
        slots        7 7 7   4 4
        entries      2 3 4   2 3    positions are the same
        """
        lengths = [len(tail) for tail in tails]
        entries = torch.cat([torch.arange(prefix, prefix + length) for length in lengths])
        read = _Tokens(
            torch.tensor([token for tail in tails for token in tail]),
            entries,
            torch.tensor(slots).repeat_interleave(torch.tensor(lengths)),
            entries,
        )
        # (longest tail, prefix + longest tail); each slot takes a corner of it.
        longest = max(lengths)
        causal = torch.full((longest, prefix + longest), -torch.inf).triu(prefix + 1)

        def attend(layer: int, queries: torch.Tensor) -> torch.Tensor:
            outputs = [
                self._causal_attention(cache, layer, slot, of_slot, causal)
                for slot, of_slot in zip(slots, queries.split(lengths), strict=True)
            ]
            return torch.cat(outputs)

        return self._run(read, cache, attend)

    def _causal_attention(
        self, cache: Cache, layer: int, slot: int, queries: torch.Tensor, causal: torch.Tensor
    ) -> torch.Tensor:
        """Attention of the last tokens of one slot, (tokens, query heads, head), to all before."""
        tokens = len(queries)
        end = tokens + causal.shape[1] - causal.shape[0]  # the prefix, then these
        group = self.query_heads // self.key_heads
        keys, values = (
            side[layer][slot : slot + 1, :, :end] for side in (cache.keys, cache.values)
        )
        if group > 1:  # a prompt is long enough to repeat what grouped heads share
            keys, values = (
                side.repeat_interleave(group, dim=1)  # (1, query heads, end, head)
                for side in (keys, values)
            )
        output = functional.scaled_dot_product_attention(
            queries.transpose(0, 1)[None], keys, values, attn_mask=causal[:tokens, :end]
        )
        return output[0].transpose(0, 1)

    def _run(self, read: _Tokens, cache: Cache, attend: Attend) -> torch.Tensor:
        """Hidden states after the last norm, (tokens, width); fills the tokens' cache entries."""
        hidden = functional.embedding(read.ids, self.embedding)
        cos_sin = self.rotary[read.positions][:, :, None]  # (tokens, 2, 1, head / 2)
        heads = [self.query_heads, self.key_heads, self.key_heads]
        for number, (layer, products) in enumerate(zip(self.layers, self.products, strict=True)):
            normed = self._norm(hidden, layer.input_norm)
            qkv = products.qkv(normed).view(len(hidden), -1, self.head)
            queries, keys, values = qkv.split(heads, dim=1)
            cache.keys[number][read.slots, :, read.entries] = _rotate(keys, cos_sin)
            cache.values[number][read.slots, :, read.entries] = values
            attention_out = attend(number, _rotate(queries, cos_sin)).reshape(len(hidden), -1)
            hidden = hidden + products.out(attention_out)
            normed = self._norm(hidden, layer.post_norm)
            mlp_out = products.down(products.gate(normed).mul_(products.up(normed)))
            hidden += mlp_out
        return self._norm(hidden, self.norm)

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self._output(hidden)

    def _norm(self, hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(hidden, weight.shape, weight, self.epsilon)


def _rotate(x: torch.Tensor, cos_sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of x (tokens, heads, head) by cos_sin (tokens, 2, 1, head / 2).

    `(a, b) -> (a cos - b sin, b cos + a sin)`, a and b the halves of a head (Su et al. 2021, in
    the layout of transformers).
    """
    a, b = x.chunk(2, dim=-1)
    cos, sin = cos_sin.unbind(1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
