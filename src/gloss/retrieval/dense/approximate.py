"""Near vectors found without comparing with all of them, by a FAISS index. Knows numbers only.

Needs the extra "faiss". An HNSW graph is built by several threads and differs from build to build;
what it finds differs hardly.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gloss.errors import InputError, MissingExtraError
from gloss.retrieval.dense.nearest import Exhaustive, Nearest, require_some
from gloss.retrieval.retriever import NeighboursName

__all__ = ["APPROXIMATE_FROM", "Approximate", "neighbours_of"]

APPROXIMATE_FROM = 200_000
"""Vectors from which "auto" prefers HNSW, where FAISS is installed (docs/log.md)."""

_LINKS = 32
_BUILD_REACH = 100
_SEARCH_REACH = 128
_PROBES = 64
_TRAINING_ROWS_A_CELL = 64

Array = np.ndarray[Any, Any]


class Approximate:
    """Compares with a few rows that a FAISS index chooses; equal products stand by row."""

    def __init__(self, index: Any) -> None:
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @classmethod
    def build(cls, vectors: Array, kind: NeighboursName) -> Approximate:
        """kind: "hnsw", a graph to walk, or "ivf", cells to look into (cheaper to build)."""
        made = cls(_hnsw(vectors) if kind == "hnsw" else _ivf(vectors))
        made.add(vectors)
        return made

    def add(self, vectors: Array) -> None:
        """Take in further rows, numbered from where the others end."""
        self._index.add(np.ascontiguousarray(vectors))

    def save(self, file: Path) -> None:
        """Write FAISS's own format, which holds no code."""
        _faiss().write_index(self._index, str(file))

    @classmethod
    def load(cls, file: Path) -> Approximate:
        """Read what `save` wrote."""
        return cls(_faiss().read_index(str(file)))

    def search(self, queries: Array, k: int) -> tuple[Array, Array]:
        """See `Nearest.search`."""
        require_some(k)
        found = self._index.search(
            np.ascontiguousarray(queries), min(k, len(self)), params=self._reach(k)
        )
        products, rows = found
        order = np.lexsort((rows, -products), axis=1)
        return np.take_along_axis(rows, order, 1), np.take_along_axis(products, order, 1)

    def _reach(self, k: int) -> Any:
        faiss = _faiss()
        if isinstance(self._index, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(efSearch=max(_SEARCH_REACH, 2 * k))
        return faiss.SearchParametersIVF(nprobe=_PROBES)


def neighbours_of(
    vectors: Array, kind: NeighboursName, *, grown_from: Nearest | None = None
) -> Nearest:
    """What searches these vectors. grown_from: what searched the first of them; it is taken over.

    Raises MissingExtraError when a FAISS index is asked for and FAISS is not installed.
    """
    if kind == "auto":
        many = len(vectors) >= APPROXIMATE_FROM and find_spec("faiss") is not None
        kind = "hnsw" if many else "exact"
    if kind == "exact":
        return Exhaustive(vectors)
    if isinstance(grown_from, Approximate):
        grown_from.add(vectors[len(grown_from) :])
        return grown_from
    return Approximate.build(vectors, kind)


def _hnsw(vectors: Array) -> Any:
    faiss = _faiss()
    index = faiss.IndexHNSWFlat(vectors.shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = _BUILD_REACH
    return index


def _ivf(vectors: Array) -> Any:
    faiss = _faiss()
    cells = max(1, int(4 * len(vectors) ** 0.5))
    if len(vectors) < cells:
        raise InputError(f"{len(vectors)} titles are too few for {cells} cells: search exactly")
    flat = faiss.IndexFlatIP(vectors.shape[1])
    index = faiss.IndexIVFFlat(flat, vectors.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1  # few rows a cell are a matter of size, not a mistake
    drawn = np.random.default_rng(0).permutation(len(vectors))[: _TRAINING_ROWS_A_CELL * cells]
    index.train(np.ascontiguousarray(vectors[np.sort(drawn)]))
    return index


def _faiss() -> Any:
    if find_spec("faiss") is None:
        raise MissingExtraError("approximate search", "faiss")
    import faiss

    return faiss
