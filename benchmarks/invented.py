"""Purchases and titles invented from a seed, for measurements of what a size costs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

SEED = 1
_WORDS = 30_000
_ROWS_AT_ONCE = 5_000_000


def purchases(count: int, items: int) -> Iterator[pl.DataFrame]:
    """Columns user, item and time, in seconds and no order, some millions of rows at a time.

    There are a tenth as many users as purchases; the popularity of items falls as a power (Pareto).
    """
    chance = np.random.default_rng(SEED)
    for start in range(0, count, _ROWS_AT_ONCE):
        size = min(_ROWS_AT_ONCE, count - start)
        of_users = chance.integers(0, count // 10, size)
        of_items = (chance.pareto(1, size) * 100).astype(np.int64) % items
        times = 1_500_000_000 + chance.integers(0, 10**8, size)
        frame = pl.DataFrame({"user": of_users, "item": of_items, "time": times})
        yield frame.select(
            pl.format("u{}", "user").alias("user"), pl.format("i{}", "item").alias("item"), "time"
        )


def titles(count: int) -> list[str]:
    """Each has 6 to 11 words, of which some stand in very many titles, and a number of its own."""
    chance = np.random.default_rng(SEED)
    counts = chance.integers(6, 12, count)
    shares = 1 / np.arange(1, _WORDS + 1) ** 0.9
    words = chance.choice(_WORDS, counts.sum(), p=shares / shares.sum())
    parts = np.split(words, np.cumsum(counts)[:-1])
    texts = (" ".join(f"w{word}" for word in part.tolist()) for part in parts)
    return [f"{text} {number}" for number, text in enumerate(texts)]
