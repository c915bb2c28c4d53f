"""Approximate nearest neighbours: few vectors are compared, chosen by a FAISS index.

Knows numbers only. Needs the extra "faiss". An HNSW graph is built by several threads and differs
from build to build; the neighbours that it finds hardly differ.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gloss.arrays import Array, require_positive
from gloss.errors import InputError, MissingExtraError
from gloss.retrieval.dense.faiss_files import require_index_of
from gloss.retrieval.dense.nearest import Exhaustive, Nearest
from gloss.retrieval.settings import Neighbours

__all__ = ["APPROXIMATE_FROM", "Approximate", "neighbours_of"]

APPROXIMATE_FROM = 200_000
"""Vectors from which "auto" prefers HNSW, where FAISS is installed (docs/log.md)."""

_HNSW_LINKS = 32
"""M of Malkov and Yashunin (TPAMI 2020): neighbours of a vertex of the graph."""

_HNSW_BUILD_CANDIDATES = 100
_HNSW_SEARCH_CANDIDATES = 128
"""efConstruction and efSearch of the same paper: vertices that a walk through the graph keeps."""

_IVF_PROBED_CELLS = 64
_IVF_TRAINING_ROWS_PER_CELL = 64


class Approximate:
    """Compares with the few rows that a FAISS index chooses; equal products by row."""

    def __init__(self, index: Any) -> None:
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @classmethod
    def build(cls, vectors: Array, kind: Neighbours) -> Approximate:
        """kind: "hnsw", a graph that is walked, or "ivf", cells that are probed."""
        index = cls(_hnsw(vectors) if kind == "hnsw" else _ivf(vectors))
        index.add(vectors)
        return index

    def add(self, vectors: Array) -> None:
        """Add further rows, numbered from where the others end."""
        self._index.add(np.ascontiguousarray(vectors))

    def grown(self, vectors: Array) -> Approximate:
        """A copy with further rows: this one may be searched meanwhile."""
        other = Approximate(_faiss().clone_index(self._index))
        other.add(vectors)
        return other

    def save(self, file: Path) -> None:
        """Write FAISS's own format, which holds no code."""
        _faiss().write_index(self._index, str(file))

    @classmethod
    def load(cls, file: Path, vectors: Array) -> Approximate:
        """Read what `save` wrote of these vectors; ValueError for anything else."""
        require_index_of(file, vectors)
        return cls(_faiss().read_index(str(file)))

    def search(self, queries: Array, k: int) -> tuple[Array, Array]:
        """See `Nearest.search`."""
        require_positive(k)
        products, rows = self._index.search(
            np.ascontiguousarray(queries), min(k, len(self)), params=self._parameters(k)
        )  # (queries, k), best first, ties in any order
        order = np.lexsort((rows, -products), axis=1)  # by product, then row
        return np.take_along_axis(rows, order, 1), np.take_along_axis(products, order, 1)

    def _parameters(self, k: int) -> Any:
        faiss = _faiss()
        if isinstance(self._index, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(efSearch=max(_HNSW_SEARCH_CANDIDATES, 2 * k))
        return faiss.SearchParametersIVF(nprobe=_IVF_PROBED_CELLS)


def neighbours_of(vectors: Array, kind: Neighbours, *, previous: Nearest | None = None) -> Nearest:
    """What searches these vectors.

    previous: what searched the first of them; a copy of its FAISS index grows. Raises
    MissingExtraError when a FAISS index is asked for and FAISS is not installed.
    """
    if kind == "auto":
        approximate = len(vectors) >= APPROXIMATE_FROM and find_spec("faiss") is not None
        kind = "hnsw" if approximate else "exact"
    if kind == "exact":
        return Exhaustive(vectors)
    if isinstance(previous, Approximate):
        return previous.grown(vectors[len(previous) :])
    return Approximate.build(vectors, kind)


def _hnsw(vectors: Array) -> Any:
    faiss = _faiss()
    index = faiss.IndexHNSWFlat(vectors.shape[1], _HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = _HNSW_BUILD_CANDIDATES
    return index


def _ivf(vectors: Array) -> Any:
    faiss = _faiss()
    cells = max(1, int(4 * len(vectors) ** 0.5))
    if len(vectors) < cells:
        raise InputError(f"{len(vectors)} titles are too few for {cells} cells: search exactly")
    flat = faiss.IndexFlatIP(vectors.shape[1])
    index = faiss.IndexIVFFlat(flat, vectors.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1  # a small catalogue has few rows a cell: no warning
    sampled = _IVF_TRAINING_ROWS_PER_CELL * cells
    sample = np.random.default_rng(0).permutation(len(vectors))[:sampled]
    index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
    return index


def _faiss() -> Any:
    if find_spec("faiss") is None:
        raise MissingExtraError("approximate search", "faiss")
    import faiss

    return faiss
