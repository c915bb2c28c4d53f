"""Causal attention inside each sequence of a pack, as an attention function of transformers.

On a CUDA device in half precision it is one kernel of torch's for sequences of different lengths
(FlashAttention's "varlen": Dao, arXiv 2307.08691), elsewhere one call for all sequences of similar
length.

Importing this registers nothing: `set_packed_attention` does, for the model that it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import AttentionInterface

from gloss.arrays import Array

__all__ = [
    "has_varlen_kernel",
    "packed_attention",
    "set_packed_attention",
    "supports_packed_attention",
]

_NAME = "gloss_packed"
_SUPPORTED_FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""Their attention is plain causal attention when no window slides over it."""


def set_packed_attention(model: Any) -> None:
    """Make a transformers model use `packed_attention`.

    transformers finds attention functions by a name, in a table of the process; the entry
    "gloss_packed" is made there. It changes no other model.
    """
    AttentionInterface.register(_NAME, packed_attention)
    model.set_attn_implementation(_NAME)


def supports_packed_attention(config: Any) -> bool:
    """Whether a model of this configuration computes the same with `packed_attention`."""
    text = config.get_text_config()
    slides = getattr(text, "use_sliding_window", True) and getattr(text, "sliding_window", None)
    return text.model_type in _SUPPORTED_FAMILIES and not slides


def has_varlen_kernel(device: torch.device) -> bool:
    """Whether a device has the kernel for sequences of different lengths: Ampere or later."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: torch.Tensor,
    max_length_q: int,
    **_rest: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each sequence of a packed row.

    query: (1, heads, tokens, head); key and value may have fewer heads. Sequence i stands at
    cu_seq_lens_q[i] to cu_seq_lens_q[i + 1]. Returns (1, tokens, heads, head).
    """
    if attention_mask is not None:
        raise ValueError("packed attention takes no mask")
    # (1, heads, tokens, head) -> (tokens, heads, head)
    states = [state[0].transpose(0, 1) for state in (query, key, value)]
    attend = _attend_by_kernel if _suits_kernel(query) else _attend_by_length
    out = attend(
        *states, bounds=cu_seq_lens_q, longest=max_length_q, scale=scaling, dropout=dropout
    )
    return out[None], None


def _attend_by_length(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    bounds: torch.Tensor,
    longest: int,
    scale: float | None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Sequences of similar length together, by torch's own attention; query (tokens, heads, head).

    Rows are padded on the right, where no real token looks.
    """
    heads = [states.shape[1] for states in (query, key, value)]
    shapes, reads, places = _rows_by_length(bounds.cpu().numpy())
    # All rows at once: read one by one, their gradients would each be as large as the pack.
    rows = torch.cat([query, key, value], dim=1).index_select(0, reads.to(query.device))
    outs = []
    for row, shape in zip(rows.split([n * length for n, length in shapes]), shapes, strict=True):
        # (sequences * length, heads, head) -> (sequences, heads, length, head)
        q, k, v = row.unflatten(0, shape).transpose(1, 2).split(heads, dim=1)
        out = functional.scaled_dot_product_attention(
            q, k, v, dropout_p=dropout, is_causal=True, scale=scale, enable_gqa=heads[0] != heads[1]
        )
        outs.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(outs).index_select(0, places.to(query.device))


def _rows_by_length(bounds: Array) -> tuple[list[tuple[int, int]], torch.Tensor, torch.Tensor]:
    """Sequences of similar length as padded rows.

    For each group its (sequences, length); the tokens that the rows of all groups read; and for
    every token the place where it is read. Sequences of 3 and 2 tokens are one group of 2 x 3, the
    shorter one first, padded with its first token:

    >>> shapes, reads, places = _rows_by_length(np.array([0, 3, 5]))
    >>> shapes, reads.tolist(), places.tolist()
    ([(2, 3)], [3, 4, 3, 0, 1, 2], [3, 4, 5, 0, 1])
    """
    lengths, starts = np.diff(bounds), bounds[:-1]
    shapes, reads, places = [], [], np.empty(bounds[-1], np.int64)
    done = 0
    for group in _groups_by_length(lengths.tolist()):
        longest = int(lengths[group[-1]])
        steps = np.arange(longest)
        is_real = steps < lengths[group, None]  # (sequences, longest)
        read = starts[group, None] + np.where(is_real, steps, 0)
        places[read[is_real]] = done + np.flatnonzero(is_real)
        done += read.size
        shapes.append((len(group), longest))
        reads.append(read.ravel())
    reads_of_all = np.concatenate(reads).astype(np.int64)
    return shapes, torch.from_numpy(reads_of_all), torch.from_numpy(places)


def _groups_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Numbers of sequences in groups, shortest first, each at most 1.25 times as long as its
    group's shortest, and 4 tokens more.

    >>> _groups_by_length([100, 3, 7, 90, 8])
    [[1, 2], [4], [3, 0]]
    """
    groups: list[list[int]] = []
    limit = 0.0
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        if lengths[number] > limit:
            groups.append([])
            limit = 1.25 * lengths[number] + 4
        groups[-1].append(number)
    return groups


def _attend_by_kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    bounds: torch.Tensor,
    longest: int,
    scale: float | None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """All sequences in one kernel; query (tokens, heads, head), in half precision."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        # Not every version of the kernel takes fewer key heads than query heads.
        key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    # The operator beneath torch.nn.attention.varlen: it has been in every torch that we support,
    # with its gradient, while the public function came late and changed its arguments twice.
    out: torch.Tensor = torch.ops.aten._flash_attention_forward(
        query.contiguous(),
        key.contiguous(),
        value.contiguous(),
        bounds,
        bounds,
        longest,
        longest,
        dropout,
        True,  # causal
        False,  # no mask for debugging is returned
        scale=scale,
    )[0]
    return out


def _suits_kernel(states: torch.Tensor) -> bool:
    return states.dtype in (torch.bfloat16, torch.float16) and has_varlen_kernel(states.device)
