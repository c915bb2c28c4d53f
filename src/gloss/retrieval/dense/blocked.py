"""The largest inner products of many vectors with many others: one matrix product, in blocks.

Knows numbers only. The product runs at the speed of the machine's BLAS, and each thread holds one
block of its scores at a time. A block takes one pass:

1. Its items are dealt to groups, and the largest score of each group is taken. The k-th largest
   of these maxima is a lower bound: at least k scores reach it (see `gloss.retrieval.top_k`).
2. Only groups that reach the bound are looked into, and only scores that reach it are kept.
3. The kept pairs, hardly more than k a query, are multiplied again, one pair at a time.

Step 3 makes the result a function of the two vectors alone. BLAS adds in an order that depends on
the size of the block and on a vector's place in it. So two equal items, or one query alone and
among others, would differ in the last bit, and the tie rule would decide by noise. Therefore the
bound is lowered by the largest possible rounding error of BLAS, and the products that decide are
sums in one fixed order.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gloss.arrays import Floats, Ints, require_positive
from gloss.retrieval.top_k import best_rows, group_count, round_up

__all__ = ["top_products"]

Pairs = tuple[Ints, Ints]
"""(pairs,) a query and an item each, by number."""

_BLOCK_QUERIES = 512
"""Queries of a block. Fewer take more time each, because BLAS packs the items for every block."""

_BLOCK_ITEMS = 16_384
"""Items of a block: with 512 queries 32 MiB of scores, which a last-level cache still holds."""

_BATCH_PAIRS = 128
"""Pairs multiplied again at a time: their vectors stay in cache."""

_MAX_THREADS = 4


def top_products(
    queries: Floats, items: Floats, k: int, *, threads: int | None = None
) -> tuple[Ints, Floats]:
    """For each query the `k` items of largest inner product, best first, equal ones by row.

    queries: float32 (queries, d); items: float32 (items, d); all finite. Returns rows of `items`,
    int64 (queries, min(k, items)), and their products, float32 of that shape. A query's result does
    not depend on the other queries. threads: blocks worked on at a time (default: one a core, up
    to 4); one thread searches its block while another multiplies. Raises ConfigError when `k` is
    below 1.

    >>> rows, products = top_products(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), 1)
    >>> rows.tolist(), products.tolist()
    ([[0], [1]], [[1.0], [1.0]])
    """
    require_positive(k)
    k = min(k, len(items))
    rows = np.empty((len(queries), k), dtype=np.int64)
    products = np.empty((len(queries), k), dtype=np.float32)
    starts = iter(range(0, len(queries), _BLOCK_QUERIES) if k else ())
    margins = _error_margins(queries, items)

    def work(_: int) -> None:
        shape = (_padded(len(items)), min(_BLOCK_QUERIES, len(queries)))
        buffer = np.empty(shape, dtype=np.float32)
        for start in starts:  # shared: each thread takes the next block when it is done with one
            block = slice(start, start + _BLOCK_QUERIES)
            pairs = _candidates(queries[block], items, k, margins[block], buffer)
            rows[block], products[block] = _best(queries[block], items, pairs, k)

    blocks = max(1, -(-len(queries) // _BLOCK_QUERIES))
    workers = min(threads or os.cpu_count() or 1, _MAX_THREADS, blocks)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))
    return rows, products


def _error_margins(queries: Floats, items: Floats) -> Floats:
    """float32 (queries,): twice the largest difference of two sums of one product's terms.

    The float32 sum of the d terms of x · y, in whatever order, is off by at most

        γ |x| |y|,   γ = d u / (1 - d u),   u = 2^-24

    (Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1). Two sums
    differ by at most 2 γ |x| |y|; twice that, because both the bound and the score that is compared
    with it may be off.
    """
    du = queries.shape[1] * 2.0**-24
    longest = np.sqrt(np.einsum("ij,ij->i", items, items).max(initial=0))
    lengths = np.sqrt(np.einsum("ij,ij->i", queries, queries))
    margins: Floats = np.float32(4 * du / (1 - du)) * longest * lengths
    return margins


def _candidates(queries: Floats, items: Floats, k: int, margins: Floats, buffer: Floats) -> Pairs:
    """All pairs that may be among the k best of their query.

    buffer: float32 (padded items of a block, queries), overwritten. The bound rises from block to
    block, so that later blocks keep less.
    """
    bound = np.full(len(queries), -np.inf, dtype=np.float32)
    found = []
    for start in range(0, len(items), _BLOCK_ITEMS):
        block = items[start : start + _BLOCK_ITEMS]
        scores = buffer[: _padded(len(block)), : len(queries)]
        np.matmul(block, queries.T, out=scores[: len(block)])
        scores[len(block) :] = -np.inf  # padding up to a whole number of groups
        groups = scores.reshape(-1, group_count(len(scores), k), len(queries))
        maxima = np.ascontiguousarray(groups.max(axis=0).T)  # (queries, groups)
        if maxima.shape[1] >= k:
            kth = np.partition(maxima, -k, axis=1)[:, -k]
            np.maximum(bound, kth - margins, out=bound)
        of_query, row = _reaching(groups, maxima, bound)
        real = row < len(block)
        found.append((of_query[real], row[real] + start))
    of_query, row = (np.concatenate(each) for each in zip(*found, strict=True))
    return of_query, row


def _padded(items: int) -> int:
    """Rows of a block of scores: items, up to a whole number of groups."""
    return min(round_up(items), _BLOCK_ITEMS)


def _reaching(groups: Floats, maxima: Floats, bound: Floats) -> Pairs:
    """The pairs whose score reaches the bound of its query; rows count from the block's first.

    groups: (places, g, queries), where row r is groups[r // g, r % g]; maxima: (queries, g);
    bound: (queries,).
    """
    of_query, group = np.nonzero(maxima >= bound[:, None])  # groups to look into
    place, pair = np.nonzero(groups[:, group, of_query] >= bound[of_query])
    return of_query[pair], place * groups.shape[1] + group[pair]


def _best(queries: Floats, items: Floats, pairs: Pairs, k: int) -> tuple[Ints, Floats]:
    """The k best rows of each query and their products, (queries, k), from pairs that hold them."""
    of_query, row = pairs
    products = _products(queries, items, pairs)
    rows, products, _ = best_rows(of_query, row, products, queries=len(queries), k=k)
    return rows, products


def _products(queries: Floats, items: Floats, pairs: Pairs) -> Floats:
    """float32 (pairs,): the product of each pair, its terms added in one fixed order."""
    of_query, row = pairs
    products = np.empty(len(row), dtype=np.float32)
    left, right = np.empty((2, _BATCH_PAIRS, queries.shape[1]), dtype=np.float32)
    for start in range(0, len(row), _BATCH_PAIRS):
        batch = slice(start, start + _BATCH_PAIRS)
        size = len(row[batch])
        # mode="clip" lets `take` write into `out` without a buffer of its own.
        queries.take(of_query[batch], axis=0, out=left[:size], mode="clip")
        items.take(row[batch], axis=0, out=right[:size], mode="clip")
        np.einsum("ij,ij->i", left[:size], right[:size], out=products[batch])
    return products
