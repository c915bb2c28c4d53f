"""The largest inner products of many vectors with many others: one matrix product, in blocks.

Knows numbers only. The product runs at the rate of the machine's BLAS, and of its scores no more
than a block a thread exists at a time. What is worth knowing of a block takes one pass over it:

1. Its columns are dealt to groups, and the largest score of each group is taken. The k-th largest
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

__all__ = ["top_products"]

Floats = np.ndarray[Any, np.dtype[np.float32]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Pairs = tuple[Ints, Ints]
"""Places of queries and, beside them, rows of items."""

_QUERIES = 256
"""Rows of a block: enough for BLAS to reach its rate, few enough for a block to stay in cache."""

_ITEMS = 16_384
"""Columns of a block: 16 MiB of scores."""

_GROUPS = 512
"""Groups of a block, and the multiple to which its columns are filled up. A pass over fewer,
longer groups takes longer (numpy reduces them row by row); more are slower to choose from."""

_PAIRS = 128
"""Pairs multiplied again at a time: their vectors stay in cache."""

_MOST_THREADS = 8


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
        buffer = np.full((_QUERIES, _width(len(items))), -np.inf, dtype=np.float32)
        for start in starts:  # shared by the threads
            part = slice(start, start + _QUERIES)
            pairs = _wanted(queries[part], items, k, doubt[part], buffer)
            rows[part], products[part] = _best(queries[part], items, pairs, k)

    workers = min(threads or os.cpu_count() or 1, _MOST_THREADS, -(-len(queries) // _QUERIES) or 1)
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
        scores = buffer[: len(queries), : _width(len(block))]
        np.matmul(queries, block.T, out=scores[:, : len(block)])
        scores[:, len(block) :] = -np.inf
        groups = _groups(scores, k)
        highest = groups.max(axis=1)
        if highest.shape[1] >= k:
            least = np.partition(highest, -k, axis=1)[:, -k]
            np.maximum(floor, least - doubt, out=floor)
        of_query, row = _reaching(groups, highest, floor)
        real = row < len(block)
        found.append((of_query[real], row[real] + start))
    of_query, row = (np.concatenate(each) for each in zip(*found, strict=True))
    return of_query, row


def _width(columns: int) -> int:
    return min(-(-columns // _GROUPS) * _GROUPS, _ITEMS)


def _groups(scores: Floats, k: int) -> Floats:
    """The same scores as (queries, place in the group, group); column = place * groups + group.

    For a large k there are more groups, so that few of the k best share one.
    """
    count = _GROUPS
    while count < 8 * k and scores.shape[1] % (2 * count) == 0:
        count *= 2
    whole = scores.shape[1] if count < k else count
    return np.lib.stride_tricks.as_strided(
        scores,
        (len(scores), scores.shape[1] // whole, whole),
        (scores.strides[0], whole * scores.itemsize, scores.itemsize),
        writeable=False,
    )


def _reaching(groups: Floats, highest: Floats, floor: Floats) -> Pairs:
    """Where a score reaches the floor of its query; rows count from the start of the block."""
    of_query, group = np.nonzero(highest >= floor[:, None])
    scores = groups[of_query, :, group]
    pair, place = np.nonzero(scores >= floor[of_query][:, None])
    return of_query[pair], place * groups.shape[2] + group[pair]


def _best(queries: Floats, items: Floats, pairs: Pairs, k: int) -> tuple[Ints, Floats]:
    """The k best rows of each query and their products, from pairs that hold them all."""
    keys = _keys(_multiplied(queries, items, pairs), pairs[1])
    best = np.sort(_table(keys, pairs[0], len(queries)), axis=1)[:, :k]
    return best & 0xFFFFFFFF, _product_of(best)


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


def _keys(products: Floats, rows: Ints) -> Ints:
    """Whole numbers that sort as (highest product, lowest row) does: both in one int64.

    The bits of a float32, read as an int32, ascend with it where it is positive and descend where
    it is negative; there all bits but the sign are turned over.
    """
    bits = (products + np.float32(0)).view(np.int32)  # + 0: no negative zero
    ascending = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return ~ascending.astype(np.int64) << 32 | rows


def _product_of(keys: Ints) -> Floats:
    """The products in what `_keys` made."""
    ascending = (~(keys >> 32)).astype(np.int32)
    bits = ascending ^ ((ascending >> 31) & 0x7FFFFFFF)
    return bits.view(np.float32)


def _table(keys: Ints, of_query: Ints, queries: int) -> Ints:
    """The keys of each query side by side, filled up with the highest number."""
    order = np.argsort(of_query, kind="stable")
    counts = np.bincount(of_query, minlength=queries)
    place = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((queries, counts.max()), np.iinfo(np.int64).max)
    table[of_query[order], place] = keys[order]
    return table
