"""What the dual encoder knows of a catalogue: arrays that lie beside its weights. Needs no torch.

For a history of purchases i, with rows of `query_embeddings` q and `item_embeddings` v:

    p(j | i) = softmax_{j ≠ i}(q_i · v_j)                          what follows one purchase;
                                                                   over all j with repeats
    gate_i   = softmax_i(gate_logits_i + recency_logits_age(i))     how much it matters which
    p(j | h) = Σ_i gate_i · p(j | i)

All of it is by distinct title: items of one title cannot be told apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from gloss.arrays import Array
from gloss.artifacts.content import finite, require

__all__ = [
    "KIND",
    "DualEncoderEmbeddings",
    "TextMap",
    "read_embeddings",
    "read_text_map",
    "write_embeddings",
]

KIND = "dual-encoder"
"""Of the artefact: a folder of a sentence encoder with these arrays beside it."""

_FILE = "embeddings.npz"
_TEXT_MAP_FILE = "text-map.npz"


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

    def with_titles(self, title_rows: Array, added: Mapping[str, Array]) -> DualEncoderEmbeddings:
        """The same for more items. title_rows: of all of them; added: what `TextMap.embeddings`
        makes of further titles, which are numbered from where the others end."""
        return replace(
            self,
            title_rows=title_rows,
            **{name: np.concatenate([getattr(self, name), added[name]]) for name in added},
        )


@dataclass(frozen=True, slots=True, eq=False)
class TextMap:
    """How a title that came after the training is embedded: by its vector t alone, of length 1.

        q = t P,   v = t,   gate logit = t · u

    That is the formula of network.py without residual embeddings. projection: P, float32 (width,
    width), the scale within; gate_vector: u, float32 (width,).
    """

    projection: Array
    gate_vector: Array

    def embeddings(self, vectors: Array) -> Mapping[str, Array]:
        """What `DualEncoderEmbeddings` has by title, of titles with these vectors (titles, width).

        >>> text = TextMap(np.float32([[0, 2], [2, 0]]), np.float32([1, 0]))
        >>> text.embeddings(np.float32([[0.5, 0.75]]))["query_embeddings"].tolist()
        [[1.5, 1.0]]
        """
        return {
            "query_embeddings": vectors @ self.projection,
            "item_embeddings": vectors,
            "gate_logits": vectors @ self.gate_vector,
        }


def write_embeddings(embeddings: DualEncoderEmbeddings, text_map: TextMap, folder: Path) -> None:
    """Add the arrays to an encoder's folder."""
    np.savez(folder / _FILE, **asdict(embeddings))
    np.savez(folder / _TEXT_MAP_FILE, **asdict(text_map))


def read_text_map(folder: Path) -> TextMap | None:
    """Read what `write_embeddings` wrote; None if an earlier version did."""
    if not (folder / _TEXT_MAP_FILE).is_file():
        return None
    with np.load(folder / _TEXT_MAP_FILE, allow_pickle=False) as arrays:
        return TextMap(**arrays)


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
