"""The largest inner products of many vectors with many others: one matrix product, in blocks.

Knows numbers only. The product runs at the rate of the machine's BLAS, and of its scores no more
than a block a thread exists at a time. What is worth knowing of a block takes one pass over it:

1. Its items are dealt to groups, and the largest score of each group is taken. The k-th largest
   of these is a floor: at least k scores reach it, so nothing below it is wanted.
2. Only groups that reach the floor are looked into, and only scores that reach it are kept.
3. What is kept, hardly more than k a query, is multiplied again, one pair at a time.

The last step makes the answer one of the two vectors alone. BLAS adds in an order that depends on
the size of the block and on a vector's place in it: two equal items, or one query asked alone and
in company, would differ in the last bit, and the tie rule would rest on noise. So the floor is
lowered by what BLAS can be wrong by, and the products that decide are sums in one fixed order.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from gloss.errors import ConfigError
from gloss.retrieval.top_k import best_rows, group_count, round_up

__all__ = ["top_products"]

Floats = np.ndarray[Any, np.dtype[np.float32]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Pairs = tuple[Ints, Ints]
"""Places of queries and, beside them, rows of items."""

_QUERIES = 512
"""Queries of a block. Fewer are dearer to multiply: BLAS packs the items anew for each block."""

_ITEMS = 16_384
"""Items of a block: with 512 queries 32 MiB of scores, which a last-level cache still holds."""

_PAIRS = 128
"""Pairs multiplied again at a time: their vectors stay in cache."""

_MOST_THREADS = 4


def top_products(
    queries: Floats, items: Floats, k: int, *, threads: int | None = None
) -> tuple[Ints, Floats]:
    """For each query the `k` items of largest inner product, best first, equal ones by row.

    queries: float32 (n, d); items: float32 (m, d); all finite. Gives rows of `items`, int64
    (n, min(k, m)), and their products, float32 of that shape. A query's answer does not depend on
    the other queries. threads: blocks worked on at a time, as many as there are cores if not given;
    one searches its block while another multiplies. Raises ConfigError when `k` is below 1.

    >>> rows, products = top_products(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), 1)
    >>> rows.tolist(), products.tolist()
    ([[0], [1]], [[1.0], [1.0]])
    """
    if k < 1:
        raise ConfigError(f"the number of items to find must be at least 1, not {k}")
    k = min(k, len(items))
    rows = np.empty((len(queries), k), dtype=np.int64)
    products = np.empty((len(queries), k), dtype=np.float32)
    starts = iter(range(0, len(queries), _QUERIES) if k else ())
    doubt = _doubt(queries, items)

    def work(_: int) -> None:
        size = (_width(len(items)), min(_QUERIES, len(queries)))
        buffer = np.empty(size, dtype=np.float32)
        for start in starts:  # shared by the threads
            part = slice(start, start + _QUERIES)
            pairs = _wanted(queries[part], items, k, doubt[part], buffer)
            rows[part], products[part] = _best(queries[part], items, pairs, k)

    blocks = max(1, -(-len(queries) // _QUERIES))
    workers = min(threads or os.cpu_count() or 1, _MOST_THREADS, blocks)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))
    return rows, products


def _doubt(queries: Floats, items: Floats) -> Floats:
    """How far two sums of one product's d terms, in whatever order, can be apart; twice that (n,).

    A sum is off by at most d u / (1 - d u) times the product of the lengths (Higham, Accuracy and
    Stability of Numerical Algorithms, 2nd edition, section 3.1); u = 2^-24 in float32. Twice,
    because the floor and what is held against it may both be off.
    """
    off = queries.shape[1] * 2.0**-24
    longest = np.sqrt(np.einsum("ij,ij->i", items, items).max(initial=0))
    lengths = np.sqrt(np.einsum("ij,ij->i", queries, queries))
    doubt: Floats = np.float32(4 * off / (1 - off)) * longest * lengths
    return doubt


def _wanted(queries: Floats, items: Floats, k: int, doubt: Floats, buffer: Floats) -> Pairs:
    """All pairs that may be among the k best of their query."""
    floor = np.full(len(queries), -np.inf, dtype=np.float32)
    found = []
    for start in range(0, len(items), _ITEMS):
        block = items[start : start + _ITEMS]
        scores = buffer[: _width(len(block)), : len(queries)]
        np.matmul(block, queries.T, out=scores[: len(block)])
        scores[len(block) :] = -np.inf
        groups = scores.reshape(-1, group_count(len(scores), k), len(queries))
        highest = np.ascontiguousarray(groups.max(axis=0).T)
        if highest.shape[1] >= k:
            least = np.partition(highest, -k, axis=1)[:, -k]
            np.maximum(floor, least - doubt, out=floor)
        of_query, row = _reaching(groups, highest, floor)
        real = row < len(block)
        found.append((of_query[real], row[real] + start))
    of_query, row = (np.concatenate(each) for each in zip(*found, strict=True))
    return of_query, row


def _width(items: int) -> int:
    return min(round_up(items), _ITEMS)


def _reaching(groups: Floats, highest: Floats, floor: Floats) -> Pairs:
    """Where a score reaches the floor of its query; rows count from the start of the block.

    groups: (place in the group, group, query), a row being place * groups + group; highest: the
    highest of each group (queries, groups).
    """
    of_query, group = np.nonzero(highest >= floor[:, None])
    place, pair = np.nonzero(groups[:, group, of_query] >= floor[of_query])
    return of_query[pair], place * groups.shape[1] + group[pair]


def _best(queries: Floats, items: Floats, pairs: Pairs, k: int) -> tuple[Ints, Floats]:
    """The k best rows of each query and their products, from pairs that hold them all."""
    of_query, row = pairs
    products = _multiplied(queries, items, pairs)
    rows, products, _ = best_rows(of_query, row, products, queries=len(queries), k=k)
    return rows, products


def _multiplied(queries: Floats, items: Floats, pairs: Pairs) -> Floats:
    """The product of each pair, its terms always added in the same order."""
    of_query, row = pairs
    products = np.empty(len(row), dtype=np.float32)
    left, right = np.empty((2, _PAIRS, queries.shape[1]), dtype=np.float32)
    for start in range(0, len(row), _PAIRS):
        part = slice(start, start + _PAIRS)
        size = len(row[part])
        queries.take(of_query[part], axis=0, out=left[:size], mode="clip")
        items.take(row[part], axis=0, out=right[:size], mode="clip")
        np.einsum("ij,ij->i", left[:size], right[:size], out=products[part])
    return products
