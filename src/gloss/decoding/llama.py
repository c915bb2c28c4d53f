"""What the fast paths share of a Llama-like model: fused weights, and a cache with a row a slot.

The weights stay those of the transformers model (its projections become views of the fused ones),
so the model goes on working and nothing is held twice. Knows no kernels and no device in
particular.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gloss.decoding.transfer import sent

__all__ = ["Cache", "Layer", "SlotLlama"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's weights, each (outputs, inputs); norms (width,).

    qkv: the projections to queries, keys and values, one below the other; gate_up likewise.
    """

    input_norm: torch.Tensor
    qkv: torch.Tensor
    out: torch.Tensor
    post_norm: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


@dataclass(frozen=True, slots=True)
class Cache:
    """Keys and values, a tensor (slots, key heads, capacity, head) for each layer.

    A slot's entries are the prompt's tokens, then `beams` tokens a step. With a prompt of two
    tokens and three beams, the entries after two steps are

        0   1  | 2   3   4  | 5   6   7
        prompt | step 0     | step 1
    """

    keys: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]


class SlotLlama(ABC):
    """A model whose cache has a row for every slot: weights, and how prompts come into slots."""

    def __init__(self, model: Any, *, positions: int) -> None:
        """positions: rows of the rotary table, as many as the longest context."""
        config = model.config
        self.query_heads: int = config.num_attention_heads
        self.key_heads: int = config.num_key_value_heads
        self.head: int = getattr(config, "head_dim", None) or config.hidden_size // self.query_heads
        self.epsilon: float = config.rms_norm_eps
        self.device, self.dtype = model.device, model.dtype
        decoder = model.model
        self.embedding: torch.Tensor = decoder.embed_tokens.weight
        self.layers = [_fuse(layer) for layer in decoder.layers]
        self.norm: torch.Tensor = decoder.norm.weight
        self.output: torch.Tensor = model.lm_head.weight
        self.rotary = _rotary_table(decoder.rotary_emb, positions, self.device)

    def new_cache(self, slots: int, capacity: int) -> Cache:
        """A cache whose entries are not initialised."""
        shape = (slots, self.key_heads, capacity, self.head)
        sides = [
            torch.empty(shape, dtype=self.dtype, device=self.device)
            for _ in range(2 * len(self.layers))
        ]
        return Cache(tuple(sides[::2]), tuple(sides[1::2]))

    def entry_bytes(self) -> int:
        """Bytes that one entry of one slot takes: keys and values of all layers."""
        return int(2 * len(self.layers) * self.key_heads * self.head * self.dtype.itemsize)

    def read_prefix(self, tokens: Sequence[int], cache: Cache) -> None:
        """Read what all prompts begin with once, and copy it to the beginning of every slot."""
        single = self.new_cache(1, len(tokens))
        self._read([tokens], single, [0], prefix=0)
        for all_slots, one_slot in zip(
            cache.keys + cache.values, single.keys + single.values, strict=True
        ):
            all_slots[:, :, : len(tokens)] = one_slot

    def read_prompts(
        self, tails: Sequence[Sequence[int]], cache: Cache, slots: Sequence[int], *, prefix: int
    ) -> torch.Tensor:
        """Read prompts into their slots; logits after each prompt's end, (prompts, vocabulary).

        tails: the prompts without their first `prefix` tokens, which stand in the slots already.
        """
        hidden = self._read(tails, cache, slots, prefix=prefix)  # (tokens of all tails, width)
        lasts = torch.tensor([len(tail) for tail in tails]).cumsum(0) - 1  # (prompts,)
        return self._logits(hidden[sent(lasts, self.device)])

    @abstractmethod
    def _read(
        self, tails: Sequence[Sequence[int]], cache: Cache, slots: Sequence[int], *, prefix: int
    ) -> torch.Tensor:
        """Hidden states of all tails' tokens, packed one after the other: (tokens, width)."""

    @abstractmethod
    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, width) -> (rows, vocabulary) float32."""


def _fuse(layer: Any) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return Layer(
        layer.input_layernorm.weight,
        _join(attention.q_proj, attention.k_proj, attention.v_proj),
        attention.o_proj.weight,
        layer.post_attention_layernorm.weight,
        _join(mlp.gate_proj, mlp.up_proj),
        mlp.down_proj.weight,
    )


def _join(*projections: Any) -> torch.Tensor:
    """One weight out of several; theirs become views of it, so that nothing is held twice."""
    joined = torch.cat([projection.weight.data for projection in projections])
    start = 0
    for projection in projections:
        rows = projection.weight.shape[0]
        projection.weight.data = joined[start : start + rows]
        start += rows
    return joined


def _rotary_table(rotary: Any, positions: int, device: torch.device) -> torch.Tensor:
    """(positions, 2, head / 2) float32: cosines and sines as the model's own module gives them."""
    position_ids = torch.arange(positions, device=device)[None]
    cos, sin = rotary(torch.zeros(1, device=device, dtype=torch.float32), position_ids)
    half = cos.shape[-1] // 2  # the module repeats each angle for both halves of a head
    return torch.stack([cos[0, :, :half], sin[0, :, :half]], dim=1).contiguous()
