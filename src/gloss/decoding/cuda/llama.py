"""A Llama-like model's forward pass for decoding on a CUDA device: the sibling of `cpu/llama.py`.

All tensors of `read_tokens` have shapes that do not depend on who holds the slots, so that a CUDA
graph can record it. Knows slots and tokens; knows nothing of beam search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from gloss.decoding.cuda.attention import PROMPT_BLOCK, prompt_attention, tree_attention
from gloss.decoding.cuda.pointwise import add_norm, gated_silu, rotate_and_store
from gloss.decoding.llama import Cache, SlotLlama
from gloss.decoding.transfer import sent

__all__ = ["CudaLlama", "prompt_blocks"]

Attend = Callable[[int, torch.Tensor], torch.Tensor]
"""(layer, qkv of (rows, heads, head)) -> attention's output, (rows, query heads, head) elements."""


class CudaLlama(SlotLlama):
    """Reads prompts and tokens into the slots of a `Cache`."""

    def read_tokens(
        self,
        tokens: torch.Tensor,
        cache: Cache,
        lengths: torch.Tensor,
        steps: torch.Tensor,
        descendants: torch.Tensor,
    ) -> torch.Tensor:
        """Read one token a beam in every slot, (slots, beams); logits (slots * beams, vocabulary).

        See `tree_attention` for lengths, steps and descendants.
        """
        slots, beams = tokens.shape
        beam = torch.arange(beams, device=self.device)
        slot = torch.arange(slots, device=self.device).repeat_interleave(beams)  # (slots * beams,)
        positions = (lengths + steps - 1).repeat_interleave(beams)
        entries = (lengths[:, None] + (steps - 1)[:, None] * beams + beam).flatten()

        def attend(layer: int, qkv: torch.Tensor) -> torch.Tensor:
            keys, values = cache.keys[layer], cache.values[layer]
            queries = rotate_and_store(qkv, self.rotary, positions, slot, entries, keys, values)
            queries = queries.view(slots, beams, self.query_heads, self.head)
            return tree_attention(queries, keys, values, lengths, steps, descendants)

        return self._logits(self._run(tokens.flatten(), attend))

    def _read(
        self, tails: Sequence[Sequence[int]], cache: Cache, slots: Sequence[int], *, prefix: int
    ) -> torch.Tensor:
        """See `SlotLlama._read`; one copy to the device carries ids, entries and slots."""
        lengths = np.array([len(tail) for tail in tails])
        entry = prefix + np.concatenate([np.arange(length) for length in lengths])
        table = np.stack([np.concatenate(tails), entry, np.repeat(slots, lengths)])  # (3, tokens)
        ids, entries, slot = sent(torch.from_numpy(table), self.device)
        blocks = sent(torch.from_numpy(prompt_blocks(slots, lengths, prefix)), self.device)

        def attend(layer: int, qkv: torch.Tensor) -> torch.Tensor:
            keys, values = cache.keys[layer], cache.values[layer]
            # In a prompt a token's position is its entry.
            queries = rotate_and_store(qkv, self.rotary, entries, slot, entries, keys, values)
            return prompt_attention(queries, keys, values, blocks)

        return self._run(ids, attend)

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, vocabulary) float32, never rounded to the model's type."""
        if self.dtype == torch.float32:
            return functional.linear(hidden, self.output)
        return torch.mm(hidden, self.output.T, out_dtype=torch.float32)

    def _run(self, tokens: torch.Tensor, attend: Attend) -> torch.Tensor:
        """Hidden states after the last norm, (tokens, width)."""
        # The residual stream stays in float32: in 16 bits it is the largest source of rounding.
        hidden = functional.embedding(tokens, self.embedding).float()
        update = None  # what the last block adds to the stream; `add_norm` does both in one pass
        for number, layer in enumerate(self.layers):
            normed = add_norm(hidden, update, layer.input_norm, self.epsilon)
            qkv = functional.linear(normed, layer.qkv).view(len(tokens), -1, self.head)
            attention_out = attend(number, qkv).view(len(tokens), -1)
            update = functional.linear(attention_out, layer.out)
            normed = add_norm(hidden, update, layer.post_norm, self.epsilon)
            gated = gated_silu(functional.linear(normed, layer.gate_up))
            update = functional.linear(gated, layer.down)
        return add_norm(hidden, update, self.norm, self.epsilon)


def prompt_blocks(slots: Sequence[int], lengths: np.ndarray, prefix: int) -> np.ndarray:
    """What `prompt_attention` works on: (blocks, 4) slot, first row, rows, entry of the first row.

    Packed rows of several prompts, each cut into blocks of `PROMPT_BLOCK` rows at most: with a
    prefix of 2 and tails of 70 and 5 tokens in the slots 7 and 4,

        slot  first row  rows  entry
           7          0    64      2
           7         64     6     66
           4         70     5      2
    """
    rows = []
    for slot, length, end in zip(slots, lengths.tolist(), lengths.cumsum().tolist(), strict=True):
        for start in range(0, length, PROMPT_BLOCK):
            count = min(PROMPT_BLOCK, length - start)
            rows.append((slot, end - length + start, count, prefix + start))
    return np.array(rows, np.int64)
