"""Sequences of different lengths as one tensor, and rows of embeddings looked up. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from gloss.arrays import Array

__all__ = ["embedding_lookup", "pad_sequences"]


def pad_sequences(
    sequences: Sequence[Array], device: torch.device | str
) -> tuple[torch.Tensor, torch.Tensor]:
    """int64 (sequences, longest), padded on the right with 0, and the mask of what is no padding.

    >>> rows, mask = pad_sequences([np.array([7, 8, 9]), np.array([5])], "cpu")
    >>> rows.tolist()
    [[7, 8, 9], [5, 0, 0]]
    >>> mask.tolist()
    [[True, True, True], [True, False, False]]
    """
    longest = max(map(len, sequences))
    rows = np.zeros((len(sequences), longest), np.int64)
    mask = np.zeros((len(sequences), longest), bool)
    for number, sequence in enumerate(sequences):
        rows[number, : len(sequence)] = sequence
        mask[number, : len(sequence)] = True
    return torch.from_numpy(rows).to(device), torch.from_numpy(mask).to(device)


def embedding_lookup(embeddings: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """(items, width) embeddings and (...) rows -> (..., width).

    The gradient has the same bits whatever the number of threads. That of `embeddings[rows]` has
    not: where a row occurs several times, its parts are added up in the order in which threads
    finish.
    """
    return functional.embedding(rows, embeddings)
