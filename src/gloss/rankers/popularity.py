"""Popularity: what was bought most often."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from gloss.arrays import top_rows
from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import Example, History, times_bought
from gloss.rankers.ranker import NoSettings, RankerSpec
from gloss.rankers.seen import seen_items
from gloss.rankings.ranking import RankedItem, Ranking

__all__ = ["SPEC", "popularity"]


def popularity(
    train: Sequence[History],
    examples: Sequence[Example],
    catalogue: Catalogue,
    *,
    length: int,
    exclude_seen: bool,
) -> tuple[Ranking, ...]:
    """Each user's list: what was bought most often in `train`, every purchase counted.

    Equally popular items stand in the order of the catalogue; items that nobody bought are left
    out. Scores are numbers of purchases.
    """
    counts = np.zeros(len(catalogue), np.int64)
    for item, count in times_bought(train).items():
        counts[catalogue.row(item)] = count
    order = top_rows(counts, len(catalogue)).tolist()
    popular = [RankedItem(catalogue[row].id, float(counts[row])) for row in order]
    return tuple(
        Ranking(
            example.user, _first(popular, seen_items(example, exclude_seen=exclude_seen), length)
        )
        for example in examples
    )


def _first(
    popular: Sequence[RankedItem], seen: frozenset[ItemId], length: int
) -> tuple[RankedItem, ...]:
    return tuple(islice((entry for entry in popular if entry.item not in seen), length))


SPEC = RankerSpec("popularity", "Popularity", NoSettings)
