"""Exact nearest neighbours: every vector is compared. Knows numbers only.

On a CUDA device the product runs there (torch); otherwise on the CPU (`top_products`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gloss.arrays import Array, require_positive
from gloss.retrieval.dense.blocked import top_products

__all__ = ["Exhaustive", "Nearest"]

_MAX_SCORES_ON_GPU = 1 << 28
"""Scores that exist at a time: 1 GiB of float32."""

_MAX_PRODUCT_ERROR = 1e-5
"""More than a product of unit vectors can be off by, in whatever order its terms are added."""


class Nearest(Protocol):
    """Finds the rows of a matrix of unit vectors with the largest inner products (cosines)."""

    def search(self, queries: Array, k: int) -> tuple[Array, Array]:
        """For each query the `k` rows of largest inner product, best first, equal ones by row.

        queries: float32 (queries, dimension). Returns rows, int64 (queries, at most k), and their
        products, float32. Where fewer were found, the rest of a line has products of 0 or less.
        Raises ConfigError when `k` is below 1.
        """
        ...


class Exhaustive:
    """Compares with every row."""

    def __init__(self, vectors: Array) -> None:
        """vectors: float32 (rows, dimension), of length 1."""
        self._vectors = vectors
        self._on_gpu = _on_gpu(vectors)

    def search(self, queries: Array, k: int) -> tuple[Array, Array]:
        """See `Nearest.search`."""
        require_positive(k)
        if self._on_gpu is None:
            return top_products(queries, self._vectors, k)
        step = max(1, _MAX_SCORES_ON_GPU // len(self._vectors))
        blocks = [self._block(queries[n : n + step], k) for n in range(0, len(queries), step)]
        rows, products = zip(*blocks, strict=True)
        return np.concatenate(rows), np.concatenate(products)

    def _block(self, queries: Array, k: int) -> tuple[Array, Array]:
        """The device finds pairs that may be among the best; the CPU orders these.

        A product on the device is rounded in an order that depends on the batch. Ties are decided
        by products that are summed in one fixed order, as in `top_products`.
        """
        k = min(k, len(self._vectors))
        query, row = _candidates(self._on_gpu, queries, k)  # (pairs,), at least k for each query
        product = np.einsum("ij,ij->i", queries[query], self._vectors[row])
        order = np.lexsort((row, -product, query))  # by query, then product, then row
        starts = np.searchsorted(query[order], np.arange(len(queries)))
        best = order[starts[:, None] + np.arange(k)]  # (queries, k)
        return row[best], product[best]


def _on_gpu(vectors: Array) -> Any:
    """The vectors on the CUDA device; None where there is none, without importing torch."""
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return None
    import torch

    return torch.from_numpy(vectors).cuda() if torch.cuda.is_available() else None


def _candidates(vectors: Any, queries: Array, k: int) -> tuple[Array, Array]:
    """(query, row) of the `k` best of each query and of whatever is within the error of these."""
    import torch

    scores = torch.from_numpy(np.ascontiguousarray(queries)).to(vectors.device) @ vectors.T
    kth = scores.topk(k, dim=1).values[:, -1:]
    query, row = torch.nonzero(scores >= kth - _MAX_PRODUCT_ERROR, as_tuple=True)
    return query.cpu().numpy(), row.cpu().numpy()
