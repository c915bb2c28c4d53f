"""What the dual encoder knows of a catalogue: arrays that lie beside its weights. Needs no torch.

For a history of purchases i, with rows of `query_embeddings` q and `item_embeddings` v:

    p(j | i) = softmax_{j ≠ i}(q_i · v_j)                          what follows one purchase;
                                                                   over all j with repeats
    gate_i   = softmax_i(gate_logits_i + recency_logits_age(i))     how much it matters which
    p(j | h) = Σ_i gate_i · p(j | i)

All of it is by distinct title: items of one title cannot be told apart.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from gloss.arrays import Array
from gloss.artifacts.content import finite, require

__all__ = ["KIND", "DualEncoderEmbeddings", "read_embeddings", "write_embeddings"]

KIND = "dual-encoder"
"""Of the artefact: a folder of a sentence encoder with these arrays beside it."""

_FILE = "embeddings.npz"


@dataclass(frozen=True, slots=True, eq=False)
class DualEncoderEmbeddings:
    """The arrays of the module's formula.

    title_rows: int64 (catalogue,), the title of each item; query_embeddings, item_embeddings:
    float32 (titles, width), the scale of the softmax within the queries; gate_logits: float32
    (titles,); recency_logits: float32 (recent,), of the last purchase, the one before, ….
    """

    title_rows: Array
    query_embeddings: Array
    item_embeddings: Array
    gate_logits: Array
    recency_logits: Array

    def next_probabilities(self, titles: Array, *, repeats: bool = False) -> Array:
        """p(j | i), float32 (queries, titles). titles: int64 (queries,), the purchases i; repeats:
        whether a title may follow itself."""
        logits = self.query_embeddings[titles] @ self.item_embeddings.T
        if not repeats:
            logits[np.arange(len(titles)), titles] = -np.inf
        return _softmax(logits)

    def mixture_gate(self, titles: Array) -> Array:
        """gate_i, float32 (purchases,), of sum 1. titles: int64 (purchases,), a user's last ones,
        earliest first: at least one, at most as many as there are recency logits.

        >>> flat = np.zeros((3, 1), np.float32)
        >>> logits = np.log([1.0, 0.5])  # the purchase before the last counts half as much
        >>> known = DualEncoderEmbeddings(np.arange(3), flat, flat, flat[:, 0], logits)
        >>> known.mixture_gate(np.array([2, 0])).round(3).tolist()  # 0.5 and 1, over 1.5
        [0.333, 0.667]
        """
        return _softmax(self.gate_logits[titles] + self.recency_logits[: len(titles)][::-1])


def write_embeddings(embeddings: DualEncoderEmbeddings, folder: Path) -> None:
    """Add the arrays to an encoder's folder."""
    np.savez(folder / _FILE, **asdict(embeddings))


def read_embeddings(folder: Path) -> DualEncoderEmbeddings:
    """Read what `write_embeddings` wrote; ValueError for anything else."""
    with np.load(folder / _FILE, allow_pickle=False) as arrays:
        found = DualEncoderEmbeddings(**arrays)
    titles, width = found.item_embeddings.shape
    shapes = found.query_embeddings.shape, found.gate_logits.shape, found.recency_logits.ndim
    require(shapes == ((titles, width), (titles,), 1), _FILE, "its arrays do not fit together")
    rows = found.title_rows
    require(rows.dtype.kind == "i" and rows.ndim == 1, _FILE, "its titles are none")
    require(bool(((rows >= 0) & (rows < titles)).all()), _FILE, "a title is not there")
    for each in asdict(found).values():
        finite(each, _FILE)
    return found


def _softmax(logits: Array) -> Array:
    """Of the last axis, in place."""
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=-1, keepdims=True)
    return logits
