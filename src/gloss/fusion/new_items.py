"""Lists as they would be, had nobody bought some of the items yet: how a fit learns of new ones.

Validation users' lists hold hardly an item that nobody has bought. Fitted on these alone, a fusion
takes what few lists hold for irrelevant, and puts new items last, which only rankers of titles can
list. So it is fitted on the lists twice: as they are, and with a share of the items made new, by
taking them out of the lists of rankers that cannot know them, and out of the counts. To drop what
is known while training, so that it is learned what the rest is worth, is DropoutNet's idea (Volkovs
and others, NeurIPS 2017).
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

import numpy as np
import polars as pl

from gloss.data.catalogue import ItemId
from gloss.fusion.rule import FusionRequest
from gloss.rankings.table import RankingTable

__all__ = ["taught_requests"]

_SEED = 0


def taught_requests(request: FusionRequest) -> list[FusionRequest]:
    """What a rule is fitted on: the lists, and where it is to meet new items, the lists with
    some of the items made new."""
    if request.new_items is None or not any(request.new_items.listed_by):
        return [request]
    return [request, _with_new(request, _drawn(request, request.new_items.share))]


def _drawn(request: FusionRequest, share: float) -> frozenset[ItemId]:
    """A share of the items that somebody bought, the same whenever these are the same."""
    items = sorted(request.times_bought)
    drawn = np.random.default_rng(_SEED).random(len(items)) < share
    return frozenset(item for item, is_new in zip(items, drawn, strict=True) if is_new)


def _with_new(request: FusionRequest, new: Set[ItemId]) -> FusionRequest:
    assert request.new_items is not None
    tables = zip(request.lists, request.new_items.listed_by, strict=True)
    return replace(
        request,
        lists=[table if listed else _without(table, new) for table, listed in tables],
        times_bought={i: count for i, count in request.times_bought.items() if i not in new},
    )


def _without(table: RankingTable, items: Set[ItemId]) -> RankingTable:
    """The lists without some items; those below move up."""
    kept = ~table.entries["items"].is_in(list(items)).to_numpy()
    lengths = np.bincount(table.rows[kept], minlength=len(table))
    return RankingTable(table.users, lengths, table.entries.filter(pl.Series(kept)))
