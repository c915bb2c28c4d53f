"""The vectors nearest to others, by comparing with every one of them. Knows numbers only.

On a CUDA device one product runs there (torch); else `top_products` on the CPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gloss.errors import ConfigError
from gloss.retrieval.dense.blocked import top_products

__all__ = ["Exhaustive", "Nearest", "require_some"]

Array = np.ndarray[Any, Any]

_SCORES_ON_GPU = 1 << 28
"""Scores that exist at a time: 1 GiB."""

_DOUBT = 1e-5
"""More than the product of two unit vectors can differ by, however its terms are added."""


class Nearest(Protocol):
    """Finds rows of a matrix of unit vectors."""

    def search(self, queries: Array, k: int) -> tuple[Array, Array]:
        """For each query (float32, (n, dimension)) the rows of largest inner product, best first.

        Gives rows, int64 (n, at most k), and their products. Where fewer were found the rest of a
        row has products of 0 or less. Raises ConfigError when `k` is below 1.
        """
        ...


class Exhaustive:
    """Compares with every row; equal products stand by row."""

    def __init__(self, vectors: Array) -> None:
        """vectors: float32 (rows, dimension), of length 1."""
        self._vectors = vectors
        self._on_gpu = _on_gpu(vectors)

    def search(self, queries: Array, k: int) -> tuple[Array, Array]:
        """See `Nearest.search`."""
        require_some(k)
        if self._on_gpu is None:
            return top_products(queries, self._vectors, k)
        step = max(1, _SCORES_ON_GPU // len(self._vectors))
        blocks = [self._block(queries[n : n + step], k) for n in range(0, len(queries), step)]
        rows, products = zip(*blocks, strict=True)
        return np.concatenate(rows), np.concatenate(products)

    def _block(self, queries: Array, k: int) -> tuple[Array, Array]:
        """What may be among the best is found on the device, and compared on the CPU."""
        k = min(k, len(self._vectors))
        query, row = _candidates(self._on_gpu, queries, k)
        product = np.einsum("ij,ij->i", queries[query], self._vectors[row])
        order = np.lexsort((row, -product, query))
        starts = np.searchsorted(query[order], np.arange(len(queries)))
        best = order[starts[:, None] + np.arange(k)]
        return row[best], product[best]


def require_some(k: int) -> None:
    """Raise ConfigError when `k` is below 1."""
    if k < 1:
        raise ConfigError(f"the number of items to find must be at least 1, not {k}")


def _on_gpu(vectors: Array) -> Any:
    """The vectors on the CUDA device; None where there is none, without importing torch."""
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return None
    import torch

    return torch.from_numpy(vectors).cuda() if torch.cuda.is_available() else None


def _candidates(vectors: Any, queries: Array, k: int) -> tuple[Array, Array]:
    """(query, row) of at least the `k` best of each query, in the order of the queries."""
    import torch

    scores = torch.from_numpy(np.ascontiguousarray(queries)).to(vectors.device) @ vectors.T
    kth = scores.topk(k, dim=1).values[:, -1:]
    query, row = torch.nonzero(scores >= kth - _DOUBT, as_tuple=True)
    return query.cpu().numpy(), row.cpu().numpy()
