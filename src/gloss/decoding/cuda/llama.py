"""A Llama-like model's forward pass for decoding: fused weights, a cache of fixed places.

Knows slots and tokens; knows nothing of beam search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from gloss.decoding.cuda.kernels import (
    PROMPT_BLOCK,
    add_norm,
    gated_silu,
    prompt_attention,
    rotate_and_store,
    tree_attention,
)
from gloss.decoding.llama_weights import Cache, LlamaWeights, why_not_llama

__all__ = ["FastLlama", "why_not"]

Attend = Callable[[int, torch.Tensor], torch.Tensor]
"""(layer, qkv of (rows, heads, head)) -> what the query heads found, as many elements."""


def why_not(model: Any) -> str | None:
    """Why the fast path cannot run this model; None if it can."""
    if model.device.type != "cuda":
        return "it is not on a CUDA device"
    reason = why_not_llama(model)
    if reason is not None:
        return reason
    config = model.config
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return None if head in (16, 32, 64, 128, 256) else f"its heads are {head} wide"


class FastLlama(LlamaWeights):
    """Reads prompts and tokens for the slots of a `Cache`."""

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
