"""Examples as batches: padded, or packed one after the other without padding.

A packed batch is one row. Positions begin anew with every example, and no token sees another
example (packed_attention.py). Examples of 3 and 2 tokens make this pack, of 5 tokens:

    tokens      a b c  d e
    positions   0 1 2  0 1
    targets     b c -  e -       # the token that follows, where a loss is asked for; - is NO_LOSS
    bounds      0      3      5

Loss and gradients are those of padding; what is saved is the padding, and the output head where no
loss is asked for. Both kinds of batches come with `shift_labels`, so that the trainer divides by
the number of tokens that carry loss in the whole step, however it is split into batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from gloss.arrays import Array, ranks_of
from gloss.language.examples import EncodedExample

__all__ = ["NO_LOSS", "Document", "LossOn", "Pack", "PackedCollator", "PaddedCollator"]

NO_LOSS = -100
"""As a target: no loss here. What torch and transformers ignore."""

LossOn = Literal["all", "completion"]
Batch = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """A token sequence, int (tokens,), of which the last `loss_tokens` carry loss."""

    tokens: Array
    loss_tokens: int

    @classmethod
    def of(cls, tokens: Array) -> Document:
        """One that is learned whole: all tokens but the first carry loss."""
        return cls(tokens, len(tokens) - 1)

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """Token sequences one after the other, as the module shows.

    tokens, positions, targets: int64 (tokens,); bounds: int32 (sequences + 1,), where each sequence
    begins and the last one ends (`cu_seqlens` of FlashAttention).
    """

    tokens: Array
    positions: Array
    targets: Array
    bounds: Array

    @classmethod
    def of(cls, sequences: Sequence[Array], loss_tokens: Sequence[int] | None = None) -> Pack:
        """loss_tokens: how many tokens at the end of each sequence carry loss; without it, all but
        the first.

        >>> pack = Pack.of([np.array([5, 6, 7]), np.array([8, 9])])
        >>> pack.positions.tolist(), pack.targets.tolist(), pack.bounds.tolist()
        ([0, 1, 2, 0, 1], [6, 7, -100, 9, -100], [0, 3, 5])
        >>> Pack.of([np.array([5, 6, 7]), np.array([8, 9])], [1, 0]).targets.tolist()
        [-100, 7, -100, -100, -100]
        """
        lengths = np.array([len(sequence) for sequence in sequences], np.int64)
        ends = lengths.cumsum()
        tokens = np.concatenate(sequences).astype(np.int64)
        positions = ranks_of(lengths)
        targets = np.append(tokens[1:], NO_LOSS)
        targets[ends - 1] = NO_LOSS  # what follows is another sequence
        if loss_tokens is not None:
            # The first loss is where the token before the last `loss_tokens` is read.
            first = lengths - 1 - np.asarray(loss_tokens)
            targets[positions < np.repeat(first, lengths)] = NO_LOSS
        return cls(tokens, positions, targets, np.append(0, ends).astype(np.int32))

    @classmethod
    def of_documents(cls, documents: Sequence[Document]) -> Pack:
        """Documents one after the other."""
        loss_tokens = [document.loss_tokens for document in documents]
        return cls.of([document.tokens for document in documents], loss_tokens)

    @classmethod
    def filled(cls, documents: Sequence[Document], size: int, pad: int) -> Pack:
        """Followed by documents of `pad` that carry no loss, up to `size` tokens in all. None of
        these is longer than the longest document.

        >>> Pack.filled([Document.of(np.array([5, 6]))], size=5, pad=0).bounds.tolist()
        [0, 2, 4, 5]
        """
        longest = max(map(len, documents))
        missing = max(0, size - sum(map(len, documents)))
        lengths = [longest] * (missing // longest) + [missing % longest] * (missing % longest > 0)
        fillings = [Document(np.full(length, pad), 0) for length in lengths]
        return cls.of_documents([*documents, *fillings])

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return int(np.diff(self.bounds).max())


@dataclass(frozen=True, slots=True)
class PaddedCollator:
    """Examples as rows padded on the right, (examples, longest).

    shifted: whether labels stand where their prediction is made; if not, where they stand in the
    text, for training code that shifts them itself.
    """

    pad: int
    loss_on: LossOn
    shifted: bool = True

    def __call__(self, examples: Sequence[EncodedExample]) -> Batch:
        """A batch for any causal language model of transformers."""
        longest = max(len(example.tokens) for example in examples)
        shape = len(examples), longest
        tokens = np.full(shape, self.pad, np.int64)
        mask = np.zeros(shape, np.int64)
        targets = np.full(shape, NO_LOSS, np.int64)
        for row, example in enumerate(examples):
            length = len(example.tokens)
            tokens[row, :length] = example.tokens
            mask[row, :length] = 1
            targets[row, :length] = _targets(example, self.loss_on)
        batch: Batch = {
            "input_ids": torch.from_numpy(tokens),
            "attention_mask": torch.from_numpy(mask),
        }
        if self.shifted:
            return batch | {"labels": _int64(targets), "shift_labels": _int64(targets)}
        return batch | {"labels": _int64(np.roll(targets, 1, axis=1))}


@dataclass(frozen=True, slots=True)
class PackedCollator:
    """Examples as one row, (1, tokens).

    packed_attention: whether the model uses `packed_attention`, which reads where examples begin;
    if not, it must find that out from the positions, as transformers' own attention does.
    """

    loss_on: LossOn
    packed_attention: bool

    def __call__(self, examples: Sequence[EncodedExample]) -> Batch:
        """A batch whose logits are asked for only where a loss is."""
        loss_tokens = None if self.loss_on == "all" else [example.answer for example in examples]
        pack = Pack.of([example.tokens for example in examples], loss_tokens)
        kept = np.flatnonzero(pack.targets != NO_LOSS)
        labels = _int64(pack.targets[kept])[None]
        batch: Batch = {
            "input_ids": _int64(pack.tokens)[None],
            "position_ids": _int64(pack.positions)[None],
            "logits_to_keep": torch.from_numpy(kept),
            "labels": labels,
            "shift_labels": labels,
        }
        if self.packed_attention:
            bounds = torch.from_numpy(pack.bounds)
            batch |= {
                "cu_seq_lens_q": bounds,
                "cu_seq_lens_k": bounds,
                "max_length_q": pack.longest,
                "max_length_k": pack.longest,
            }
        return batch


def _targets(example: EncodedExample, loss_on: LossOn) -> Array:
    """The token that follows each token, where a loss is asked for, int64 (tokens,)."""
    targets = np.full(len(example.tokens), NO_LOSS, np.int64)
    first = 1 if loss_on == "all" else len(example.tokens) - example.answer
    targets[first - 1 : -1] = example.tokens[first:]
    return targets


def _int64(array: Array) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.int64))
