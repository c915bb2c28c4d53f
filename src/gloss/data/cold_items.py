"""Items that are held out of everything, as if they came tomorrow: the protocol `cold-items`.

A share of the items leaves the catalogue and every history, so that nothing can learn of them. What
is asked about them: of everybody whose last purchase is such an item, that item, after all other
purchases. A cold-start split in the sense of recommender evaluation (Schein et al., SIGIR 2002).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from gloss.arrays import Bools
from gloss.data.splits import MIN_ITEMS

__all__ = ["ColdItems", "ColdRule", "cold_examples"]


@dataclass(frozen=True, slots=True)
class ColdRule:
    """Which items are held out: a share of those that somebody bought, drawn at random."""

    share: float
    seed: int = 0

    def drawn(self, bought: Bools) -> Bools:
        """bool (items,): the items that are held out; at least one, and the same ones whenever the
        items are the same.

        bought: bool (items,).

        >>> ColdRule(0.5).drawn(np.array([True, False, True, True, True])).sum()
        np.int64(2)
        """
        rows = np.flatnonzero(bought)
        count = max(1, round(self.share * len(rows)))
        mask = np.zeros(len(bought), np.bool_)
        mask[np.random.default_rng(self.seed).choice(rows, count, replace=False)] = True
        return mask


@dataclass(frozen=True, slots=True)
class ColdItems:
    """items: item, title and other columns; examples: user, history, target, whose targets are
    these items and whose histories hold none of them."""

    items: pl.DataFrame
    examples: pl.LazyFrame

    def counted(self, purchases: int) -> dict[str, int]:
        """For a summary. purchases: of these items."""
        asked = self.examples.select(pl.len()).collect(engine="streaming").item()
        return {
            "cold items": self.items.height,
            "purchases of cold items": purchases,
            "cold test users": int(asked),
        }


def cold_examples(histories: pl.LazyFrame, cold: pl.Series) -> pl.LazyFrame:
    """The examples whose answers are cold.

    histories: user, items, of everything; cold: the items that are held out. With the cold item c,
    somebody who bought a b c d c is asked for c after a b d. Whoever has fewer than two purchases
    left is not asked, as in other splits.
    """
    is_cold = pl.element().is_in(cold.implode())
    last = pl.col("items").list.last()
    warm = pl.col("items").list.eval(pl.element().filter(~is_cold))
    asked = histories.filter(last.is_in(cold.implode())).select("user", history=warm, target=last)
    return asked.filter(pl.col("history").list.len() >= MIN_ITEMS - 1)
