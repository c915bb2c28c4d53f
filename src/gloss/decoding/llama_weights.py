"""What fast paths take from a Llama-like model of transformers: fused weights, a cache of places.

The weights stay those of the transformers model (its projections become views of the fused ones),
so the model goes on working. Knows no kernels and no device in particular.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch

__all__ = ["Cache", "Layer", "LlamaWeights", "common_prefix", "groups", "why_not_llama"]

_KNOWN = ("llama", "mistral")
_SHORTEST_PREFIX = 16


def why_not_llama(model: Any) -> str | None:
    """Why no fast path can run this model, wherever it is; None if one can."""
    config = model.config
    checks = {
        f"its type is {config.model_type!r}": config.model_type in _KNOWN,
        "its projections have biases": not getattr(config, "attention_bias", False)
        and not getattr(config, "mlp_bias", False),
        "its activation is not SiLU": getattr(config, "hidden_act", "") == "silu",
        "it has a sliding window": getattr(config, "sliding_window", None) is None,
        "its weights are quantised": getattr(model, "quantization_method", None) is None,
        "it carries adapters": not getattr(model, "_hf_peft_config_loaded", False),
    }
    return next((reason for reason, fine in checks.items() if not fine), None)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's weights; qkv and gate_up hold several projections one below the other."""

    input_norm: torch.Tensor
    qkv: torch.Tensor
    out: torch.Tensor
    post_norm: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


@dataclass(frozen=True, slots=True)
class Cache:
    """Keys and values of every layer, each (slots, key heads, capacity, head)."""

    keys: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]


class LlamaWeights(ABC):
    """The shape and the weights of a model, and how prompts come into the slots of a `Cache`."""

    def __init__(self, model: Any, *, positions: int) -> None:
        """positions: how many the rotary table holds."""
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
        """A cache in which nothing stands yet, not even zeros."""
        shape = (slots, self.key_heads, capacity, self.head)
        made = [
            torch.empty(shape, dtype=self.dtype, device=self.device)
            for _ in range(2 * len(self.layers))
        ]
        return Cache(tuple(made[::2]), tuple(made[1::2]))

    def entry_bytes(self) -> int:
        """Bytes of the cache that one token of one slot takes."""
        return int(2 * len(self.layers) * self.key_heads * self.head * self.dtype.itemsize)

    def read_prefix(self, tokens: Sequence[int], cache: Cache) -> None:
        """Read what all prompts begin with once, and put it at the beginning of every slot."""
        one = self.new_cache(1, len(tokens))
        self._read([tokens], one, [0], before=0)
        for ours, read in zip(cache.keys + cache.values, one.keys + one.values, strict=True):
            ours[:, :, : len(tokens)] = read

    def read_prompts(
        self, prompts: Sequence[Sequence[int]], cache: Cache, slots: Sequence[int], *, before: int
    ) -> torch.Tensor:
        """Read prompts into their slots, where `before` tokens stand already.

        prompts: without those tokens. Returns the logits after each end, (prompts, vocabulary).
        """
        hidden = self._read(prompts, cache, slots, before=before)
        lasts = torch.tensor([len(prompt) for prompt in prompts]).cumsum(0) - 1
        return self._logits(hidden[lasts.to(self.device)])

    @abstractmethod
    def _read(
        self, prompts: Sequence[Sequence[int]], cache: Cache, slots: Sequence[int], *, before: int
    ) -> torch.Tensor:
        """Hidden states of all prompts' tokens, packed one after the other: (tokens, width)."""

    @abstractmethod
    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """What may come next, (rows, vocabulary) float32."""


def common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with, leaving each at least one; 0 if hardly any."""
    shortest = min(map(len, prompts)) - 1
    first = prompts[0]
    same = takewhile(
        lambda place: all(prompt[place] == first[place] for prompt in prompts), range(shortest)
    )
    length = sum(1 for _ in same)
    return length if length >= _SHORTEST_PREFIX else 0


def groups(
    users: Sequence[int], prompts: Sequence[Sequence[int]], prefix: int, *, tokens: int
) -> list[list[int]]:
    """Users in order, cut where a group's tokens beyond the prefix would outgrow `tokens`."""
    made: list[list[int]] = []
    room = 0
    for user in users:
        room -= len(prompts[user]) - prefix
        if not made or room < 0:
            made.append([])
            room = tokens - (len(prompts[user]) - prefix)
        made[-1].append(user)
    return made


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
    places = torch.arange(positions, device=device)[None]
    cosine, sine = rotary(torch.zeros(1, device=device, dtype=torch.float32), places)
    half = cosine.shape[-1] // 2
    return torch.stack([cosine[0, :, :half], sine[0, :, :half]], dim=1).contiguous()
