"""A Llama-like model's forward pass for decoding on a CPU: the sibling of `llama`, without Triton.

Every matrix product is one over all tokens at hand; attention goes slot by slot over what the slot
really holds, so prompts of any lengths and users at any step stand side by side without padding.
Knows slots and tokens; knows nothing of beam search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from gloss.decoding.cpu.products import Product, product
from gloss.decoding.llama_weights import Cache, Layer, LlamaWeights, why_not_llama

__all__ = ["CpuLlama", "why_not"]

Attend = Callable[[int, torch.Tensor], torch.Tensor]
"""(layer, rotated queries of (tokens, query heads, head)) -> what they found, the same shape."""


def why_not(model: Any) -> str | None:
    """Why the fast path on a CPU cannot run this model; None if it can."""
    if model.device.type != "cpu":
        return "it is not on a CPU"
    if model.dtype != torch.float32:
        return f"its numbers are {str(model.dtype).removeprefix('torch.')}, not float32"
    return why_not_llama(model)


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


class CpuLlama(LlamaWeights):
    """Reads prompts and tokens for the slots of a `Cache`."""

    def __init__(self, model: Any, *, positions: int) -> None:
        """positions: how many the rotary table holds."""
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

        lengths: tokens of each user's prompt; steps: tokens of each beam, this one included;
        mask: (users, beams, capacity), 0 for what a beam looks at, itself too, -inf elsewhere.
        """
        users, beams = tokens.shape
        grouped = self.query_heads // self.key_heads
        positions = (lengths + steps - 1).repeat_interleave(beams)
        places = (lengths[:, None] + (steps - 1)[:, None] * beams + torch.arange(beams)).flatten()
        held = (lengths + steps * beams).tolist()
        masks = [
            mask[user, :, :end].expand(grouped, -1, -1).reshape(1, 1, grouped * beams, end)
            for user, end in enumerate(held)
        ]
        shape = (users, beams, self.key_heads, grouped, self.head)

        def attend(layer: int, queries: torch.Tensor) -> torch.Tensor:
            keys, values = cache.keys[layer], cache.values[layer]
            asked = queries.view(shape).permute(0, 2, 3, 1, 4).flatten(2, 3)
            found = [
                functional.scaled_dot_product_attention(
                    asked[user : user + 1],
                    keys[slot : slot + 1, :, :end],
                    values[slot : slot + 1, :, :end],
                    attn_mask=masks[user],
                )
                for user, (slot, end) in enumerate(zip(slots, held, strict=True))
            ]
            mixed = torch.cat(found).view(users, self.key_heads, grouped, beams, self.head)
            return mixed.permute(0, 3, 1, 2, 4)

        rows = torch.tensor(slots).repeat_interleave(beams)
        return self._logits(self._run(tokens.flatten(), positions, cache, rows, places, attend))

    def _read(
        self, prompts: Sequence[Sequence[int]], cache: Cache, slots: Sequence[int], *, before: int
    ) -> torch.Tensor:
        """Hidden states of all prompts' tokens, packed one after the other: (tokens, width)."""
        lengths = [len(prompt) for prompt in prompts]
        tokens = torch.tensor([token for prompt in prompts for token in prompt])
        places = torch.cat([torch.arange(before, before + length) for length in lengths])
        rows = torch.tensor(slots).repeat_interleave(torch.tensor(lengths))
        longest = before + max(lengths)
        causal = torch.full((max(lengths), longest), -torch.inf).triu(before + 1)

        def attend(layer: int, queries: torch.Tensor) -> torch.Tensor:
            found = []
            for slot, asked in zip(slots, queries.split(lengths), strict=True):
                end = before + len(asked)
                keys, values = (
                    # Grouped heads read the same keys; a prompt is long enough to repeat them.
                    side[layer][slot : slot + 1, :, :end].repeat_interleave(
                        self.query_heads // self.key_heads, dim=1
                    )
                    if self.query_heads != self.key_heads
                    else side[layer][slot : slot + 1, :, :end]
                    for side in (cache.keys, cache.values)
                )
                mixed = functional.scaled_dot_product_attention(
                    asked.transpose(0, 1)[None], keys, values, attn_mask=causal[: len(asked), :end]
                )
                found.append(mixed[0].transpose(0, 1))
            return torch.cat(found)

        return self._run(tokens, places, cache, rows, places, attend)

    def _run(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        cache: Cache,
        rows: torch.Tensor,
        places: torch.Tensor,
        attend: Attend,
    ) -> torch.Tensor:
        """Hidden states after the last norm; each token's keys go to its row and place."""
        hidden = functional.embedding(tokens, self.embedding)
        turn = self.rotary[positions][:, :, None]
        heads = [self.query_heads, self.key_heads, self.key_heads]
        for number, (layer, times) in enumerate(zip(self.layers, self.products, strict=True)):
            normed = self._norm(hidden, layer.input_norm)
            qkv = times.qkv(normed).view(len(tokens), -1, self.head)
            queries, keys, values = qkv.split(heads, dim=1)
            cache.keys[number][rows, :, places] = _rotate(keys, turn)
            cache.values[number][rows, :, places] = values
            found = attend(number, _rotate(queries, turn)).reshape(len(tokens), -1)
            hidden = hidden + times.out(found)
            normed = self._norm(hidden, layer.post_norm)
            hidden += times.down(times.gate(normed).mul_(times.up(normed)))
        return self._norm(hidden, self.norm)

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self._output(hidden)

    def _norm(self, hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(hidden, weight.shape, weight, self.epsilon)


def _rotate(x: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """x (tokens, heads, head) turned by turn (tokens, 2, 1, head / 2): cosines and sines."""
    one, other = x.chunk(2, dim=-1)
    cosine, sine = turn.unbind(1)
    return torch.cat([one * cosine - other * sine, other * cosine + one * sine], dim=-1)
