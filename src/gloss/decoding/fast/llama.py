"""A Llama-like model's forward pass for decoding: fused weights, a cache of fixed places.

The weights stay those of the transformers model (its projections become views of the fused ones),
so the model goes on working. Knows slots and tokens; knows nothing of beam search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from gloss.decoding.fast.kernels import (
    PROMPT_BLOCK,
    add_norm,
    gated_silu,
    prompt_attention,
    rotate_and_store,
    tree_attention,
)

__all__ = ["Cache", "FastLlama", "why_not"]

_KNOWN = ("llama", "mistral")

Attend = Callable[[int, torch.Tensor], torch.Tensor]
"""(layer, qkv of (rows, heads, head)) -> what the query heads found, as many elements."""


def why_not(model: Any) -> str | None:
    """Why the fast path cannot run this model; None if it can."""
    config = model.config
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    checks = {
        "it is not on a CUDA device": model.device.type == "cuda",
        f"its type is {config.model_type!r}": config.model_type in _KNOWN,
        "its projections have biases": not getattr(config, "attention_bias", False)
        and not getattr(config, "mlp_bias", False),
        "its activation is not SiLU": getattr(config, "hidden_act", "") == "silu",
        "it has a sliding window": getattr(config, "sliding_window", None) is None,
        f"its heads are {head} wide": head in (16, 32, 64, 128, 256),
        "its weights are quantised": getattr(model, "quantization_method", None) is None,
        "it carries adapters": not getattr(model, "_hf_peft_config_loaded", False),
    }
    return next((reason for reason, fine in checks.items() if not fine), None)


@dataclass(frozen=True, slots=True)
class _Layer:
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


class FastLlama:
    """Reads prompts and tokens for the slots of a `Cache`."""

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
        """An empty cache."""
        shape = (slots, self.key_heads, capacity, self.head)
        made = [
            torch.zeros(shape, dtype=self.dtype, device=self.device)
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

    def read_tokens(
        self,
        tokens: torch.Tensor,
        cache: Cache,
        lengths: torch.Tensor,
        steps: torch.Tensor,
        seen_by: torch.Tensor,
    ) -> torch.Tensor:
        """Read one token a beam in every slot, (slots, beams); logits (slots * beams, vocabulary).

        See `tree_attention` for lengths, steps and seen_by.
        """
        slots, beams = tokens.shape
        beam = torch.arange(beams, device=self.device)
        slot = torch.arange(slots, device=self.device).repeat_interleave(beams)
        positions = (lengths + steps - 1).repeat_interleave(beams)
        places = (lengths[:, None] + (steps - 1)[:, None] * beams + beam).flatten()

        def attend(layer: int, qkv: torch.Tensor) -> torch.Tensor:
            keys, values = cache.keys[layer], cache.values[layer]
            queries = rotate_and_store(qkv, self.rotary, positions, slot, places, keys, values)
            queries = queries.view(slots, beams, self.query_heads, self.head)
            return tree_attention(queries, keys, values, lengths, steps, seen_by)

        return self._logits(self._run(tokens.flatten(), attend))

    def _read(
        self, prompts: Sequence[Sequence[int]], cache: Cache, slots: Sequence[int], *, before: int
    ) -> torch.Tensor:
        """Hidden states of all prompts' tokens, packed one after the other: (tokens, width)."""
        lengths = np.array([len(prompt) for prompt in prompts])
        place = before + np.concatenate([np.arange(length) for length in lengths])
        table = np.stack([np.concatenate(prompts), place, np.repeat(slots, lengths)])
        tokens, places, slot = torch.from_numpy(table).to(self.device)
        blocks = torch.from_numpy(_blocks(slots, lengths, before)).to(self.device)

        def attend(layer: int, qkv: torch.Tensor) -> torch.Tensor:
            keys, values = cache.keys[layer], cache.values[layer]
            queries = rotate_and_store(qkv, self.rotary, places, slot, places, keys, values)
            return prompt_attention(queries, keys, values, blocks)

        return self._run(tokens, attend)

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, vocabulary) float32, never rounded to the model's type."""
        if self.dtype == torch.float32:
            return functional.linear(hidden, self.output)
        return torch.mm(hidden, self.output.T, out_dtype=torch.float32)

    def _run(self, tokens: torch.Tensor, attend: Attend) -> torch.Tensor:
        # The stream that every layer adds to stays in float32: the largest source of rounding.
        hidden = functional.embedding(tokens, self.embedding).float()
        update = None
        for number, layer in enumerate(self.layers):
            normed = add_norm(hidden, update, layer.input_norm, self.epsilon)
            qkv = functional.linear(normed, layer.qkv).view(len(tokens), -1, self.head)
            update = functional.linear(attend(number, qkv).view(len(tokens), -1), layer.out)
            normed = add_norm(hidden, update, layer.post_norm, self.epsilon)
            gated = gated_silu(functional.linear(normed, layer.gate_up))
            update = functional.linear(gated, layer.down)
        return add_norm(hidden, update, self.norm, self.epsilon)


def _blocks(slots: Sequence[int], lengths: np.ndarray, before: int) -> np.ndarray:
    """What `prompt_attention` works on: (blocks, 4) slot, first row, rows, entry of the first."""
    rows = []
    for slot, length, end in zip(slots, lengths.tolist(), lengths.cumsum().tolist(), strict=True):
        for start in range(0, length, PROMPT_BLOCK):
            count = min(PROMPT_BLOCK, length - start)
            rows.append((slot, end - length + start, count, before + start))
    return np.array(rows, np.int64)


def _fuse(layer: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return _Layer(
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
