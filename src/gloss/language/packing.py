"""Examples as batches: padded, or packed one after the other without padding.

A packed batch is one row. Positions begin anew with every example, and no token sees another
example: `packed_attention` works on each example for itself, which on a CUDA device is one kernel
of torch's for sequences of different lengths, and elsewhere one call for all of similar length.
Loss and gradients are those of padding; what is saved is the padding, and the output head where no
loss is asked for.

Both hand over `shift_labels`, so that the trainer divides by the number of tokens that carry loss
in the whole step, however it is split into batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional
from transformers import AttentionInterface

from gloss.language.examples import EncodedExample

__all__ = [
    "NO_LOSS",
    "PACKED_ATTENTION",
    "Pack",
    "Packed",
    "Padded",
    "has_kernel",
    "packed_attention",
    "understands_packing",
]

NO_LOSS = -100
PACKED_ATTENTION = "gloss_packed"
_UNDERSTAND = ("llama", "mistral", "qwen2", "qwen3")
"""Families whose attention is plain causal attention when no window slides over it."""

LossOn = Literal["all", "completion"]
Batch = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Padded:
    """Collates examples into rows padded on the right: (examples, longest). shifted: whether labels
    stand where their prediction is made, or, for models that shift them themselves, where they
    stand in the text."""

    pad: int
    loss_on: LossOn
    shifted: bool = True

    def __call__(self, rows: Sequence[EncodedExample]) -> Batch:
        """A batch for any causal language model of transformers."""
        longest = max(len(row.tokens) for row in rows)
        tokens = np.full((len(rows), longest), self.pad, np.int64)
        seen = np.zeros((len(rows), longest), np.int64)
        targets = np.full((len(rows), longest), NO_LOSS, np.int64)
        for place, row in enumerate(rows):
            length = len(row.tokens)
            tokens[place, :length] = row.tokens
            seen[place, :length] = 1
            targets[place, :length] = _targets(row, self.loss_on)
        batch: Batch = {
            "input_ids": torch.from_numpy(tokens),
            "attention_mask": torch.from_numpy(seen),
        }
        if self.shifted:
            return batch | {"labels": _int64(targets), "shift_labels": _int64(targets)}
        return batch | {"labels": _int64(np.roll(targets, 1, axis=1))}


@dataclass(frozen=True, slots=True)
class Pack:
    """Token sequences one after the other.

    tokens, positions: (tokens,), positions beginning anew with each sequence; targets: (tokens,),
    the token that each is to be followed by, or NO_LOSS; bounds: int32 (sequences + 1,), where each
    begins and the last one ends.
    """

    tokens: np.ndarray
    positions: np.ndarray
    targets: np.ndarray
    bounds: np.ndarray

    @classmethod
    def of(cls, sequences: Sequence[np.ndarray], answers: Sequence[int] | None = None) -> Pack:
        """answers: how many tokens at the end of each sequence carry loss; without it, all but the
        first."""
        lengths = np.array([len(sequence) for sequence in sequences], np.int64)
        ends = lengths.cumsum()
        tokens = np.concatenate(sequences).astype(np.int64)
        positions = np.arange(len(tokens)) - np.repeat(ends - lengths, lengths)
        targets = np.append(tokens[1:], NO_LOSS)
        targets[ends - 1] = NO_LOSS
        if answers is not None:
            first = lengths - 1 - np.asarray(answers)
            targets[positions < np.repeat(first, lengths)] = NO_LOSS
        return cls(tokens, positions, targets, np.append(0, ends).astype(np.int32))

    @classmethod
    def filled(cls, sequences: Sequence[np.ndarray], size: int, pad: int) -> Pack:
        """Followed by sequences of `pad` that carry no loss, up to `size` tokens in all."""
        longest = max(map(len, sequences))
        missing = max(0, size - sum(map(len, sequences)))
        lengths = [longest] * (missing // longest) + [missing % longest] * (missing % longest > 0)
        filling = [np.full(length, pad) for length in lengths]
        answers = [len(sequence) - 1 for sequence in sequences] + [0] * len(filling)
        return cls.of([*sequences, *filling], answers)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return int(np.diff(self.bounds).max())


@dataclass(frozen=True, slots=True)
class Packed:
    """Collates examples into one row, (1, tokens). attends: whether the model reads where examples
    begin (`packed_attention`); if not, it must find that out from the positions."""

    loss_on: LossOn
    attends: bool

    def __call__(self, rows: Sequence[EncodedExample]) -> Batch:
        """A batch whose logits are asked for only where a loss is."""
        answers = None if self.loss_on == "all" else [row.answer for row in rows]
        pack = Pack.of([row.tokens for row in rows], answers)
        kept = np.flatnonzero(pack.targets != NO_LOSS)
        labels = _row(pack.targets[kept])
        batch: Batch = {
            "input_ids": _row(pack.tokens),
            "position_ids": _row(pack.positions),
            "logits_to_keep": torch.from_numpy(kept),
            "labels": labels,
            "shift_labels": labels,
        }
        if self.attends:
            bounds = torch.from_numpy(pack.bounds)
            batch |= {
                "cu_seq_lens_q": bounds,
                "cu_seq_lens_k": bounds,
                "max_length_q": pack.longest,
                "max_length_k": pack.longest,
            }
        return batch


def understands_packing(config: Any) -> bool:
    """Whether a model's attention can be replaced by `packed_attention`."""
    text = config.get_text_config()
    slides = getattr(text, "use_sliding_window", True) and getattr(text, "sliding_window", None)
    return text.model_type in _UNDERSTAND and not slides


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
    """Causal attention inside each example of a packed row.

    query: (1, heads, tokens, head); key and value may have fewer heads. Example i stands at
    cu_seq_lens_q[i] to cu_seq_lens_q[i + 1]. Returns (1, tokens, heads, head).
    """
    if attention_mask is not None:
        raise ValueError("packed attention takes no mask")
    # (1, heads, tokens, head) -> (tokens, heads, head)
    rows = [states[0].transpose(0, 1) for states in (query, key, value)]
    attend = _by_kernel if _suits_kernel(query) else _by_length
    seen = attend(*rows, bounds=cu_seq_lens_q, longest=max_length_q, scale=scaling, dropout=dropout)
    return seen[None], None


def _by_length(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    bounds: torch.Tensor,
    longest: int,
    scale: float | None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Examples of similar length together, by torch's own attention; query (tokens, heads, head).

    Rows are filled up on the right, where no real token looks.
    """
    heads = [states.shape[1] for states in (query, key, value)]
    shapes, read, places = _rows(bounds.cpu().numpy())
    # All rows at once: read one by one, their gradients would each be as large as the pack.
    rows = torch.cat([query, key, value], dim=1).index_select(0, read.to(query.device))
    found = []
    for row, shape in zip(rows.split([n * length for n, length in shapes]), shapes, strict=True):
        # (examples * length, heads, head) -> (examples, heads, length, head)
        q, k, v = row.unflatten(0, shape).transpose(1, 2).split(heads, dim=1)
        seen = functional.scaled_dot_product_attention(
            q, k, v, dropout_p=dropout, is_causal=True, scale=scale, enable_gqa=heads[0] != heads[1]
        )
        found.append(seen.transpose(1, 2).flatten(0, 1))
    return torch.cat(found).index_select(0, places.to(query.device))


def _rows(bounds: np.ndarray) -> tuple[list[tuple[int, int]], torch.Tensor, torch.Tensor]:
    """Examples of similar length as rows: for each group its (examples, length), the tokens that
    the rows of all groups read, and for every token the place among them that reads it."""
    lengths, starts = np.diff(bounds), bounds[:-1]
    shapes, reads, places = [], [], np.empty(bounds[-1], np.int64)
    done = 0
    for examples in _alike(lengths.tolist()):
        shape = len(examples), int(lengths[examples[-1]])
        steps = np.arange(shape[1])
        real = steps < lengths[examples, None]
        read = starts[examples, None] + np.where(real, steps, 0)
        places[read[real]] = done + np.flatnonzero(real)
        done += read.size
        shapes.append(shape)
        reads.append(read.ravel())
    read_by_all = np.concatenate(reads).astype(np.int64)
    return shapes, torch.from_numpy(read_by_all), torch.from_numpy(places)


def _alike(lengths: Sequence[int]) -> list[list[int]]:
    """Places in groups, shortest first, in which nothing is much shorter than the longest."""
    groups: list[list[int]] = []
    most = 0.0
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if lengths[place] > most:
            groups.append([])
            most = 1.25 * lengths[place] + 4
        groups[-1].append(place)
    return groups


def _by_kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    bounds: torch.Tensor,
    longest: int,
    scale: float | None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """All examples in one kernel; query (tokens, heads, head), in half precision."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        # Not every version of the kernel takes fewer key heads than query heads.
        key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    # The operator beneath torch.nn.attention.varlen: it has been in every torch that we support,
    # with its gradient, while the public function came late and changed its arguments twice.
    found: torch.Tensor = torch.ops.aten._flash_attention_forward(
        query.contiguous(),
        key.contiguous(),
        value.contiguous(),
        bounds,
        bounds,
        longest,
        longest,
        dropout,
        True,
        False,
        scale=scale,
    )[0]
    return found


def _suits_kernel(states: torch.Tensor) -> bool:
    return states.dtype in (torch.bfloat16, torch.float16) and has_kernel(states.device)


def has_kernel(device: torch.device) -> bool:
    """Whether a device has a kernel for sequences of different lengths: Ampere or later."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _targets(row: EncodedExample, loss_on: LossOn) -> np.ndarray:
    """The token that each token is to be followed by, where a loss is asked for; (tokens,)."""
    targets = np.full(len(row.tokens), NO_LOSS, np.int64)
    first = 1 if loss_on == "all" else len(row.tokens) - row.answer
    targets[first - 1 : -1] = row.tokens[first:]
    return targets


def _int64(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.int64))


def _row(values: np.ndarray) -> torch.Tensor:
    return _int64(values)[None]


AttentionInterface.register(PACKED_ATTENTION, packed_attention)
