"""Lists as they would be, had nobody bought some of the items yet: how a fit learns of new ones.

Validation users' lists hold hardly an item that nobody has bought. Fitted on these alone, a fusion
takes what few lists hold for irrelevant, and puts new items last, which only rankers of titles can
list. So it is fitted on the lists twice: as they are, and with a share of the items made new, by
taking them out of the lists of rankers that cannot know them, and out of the counts. To drop what
is known while training, so that it is learned what the rest is worth, is DropoutNet's idea (Volkovs
and others, NeurIPS 2017).

Lists so fused put all answers together in about the best order, and new ones behind others of which
purchases speak, too: among new items alone, a ranker of titles may find more. So a new item's score
is raised by as much as it takes for the fused list to find more of them than each of its parts, as
the guard asks of all answers. This lift is fitted on lists with a tenth of the items made new.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from gloss.arrays import Array, Bools
from gloss.data.catalogue import ItemId
from gloss.fusion.rule import FusionRequest
from gloss.rankings.table import RankingTable

__all__ = ["Scored", "arrivals", "fitted_lift", "training_requests"]

_SEED = 0

_ARRIVING = 0.1
"""The share of the items that is new where a lift is fitted, as in the protocol `cold-items`."""

_DRAWS = 2
"""How often that share is drawn, so that a fifth of the answers is new once."""

_LIFTS = tuple(step / 10 for step in range(21))
"""What is tried, in standard deviations of the scores of all candidates."""

_CUTOFF = 10

_LEAST_ANSWERS = 20
"""New answers below which nothing is fitted: of so few, chance alone would say how far to go."""


def training_requests(request: FusionRequest) -> list[FusionRequest]:
    """What a rule is fitted on: the lists, and where it is to meet new items, the lists with
    some of the items made new."""
    if request.new_items is None or not any(request.new_items.listed_by):
        return [request]
    return [request, _with_new(request, _drawn(request, request.new_items.share))]


def arrivals(request: FusionRequest) -> Iterator[FusionRequest]:
    """The lists on which a lift is fitted: with a tenth of the items made new, drawn anew for each;
    none where a rule is not to meet new items."""
    if request.new_items is None or not any(request.new_items.listed_by):
        return
    for draw in range(1, _DRAWS + 1):
        yield _with_new(request, _drawn(request, _ARRIVING, _SEED + draw))


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The scores of everybody's candidates. users: int64 (candidates,), whose candidate it is; new:
    bool (candidates,), whether nobody has bought the item; bought: bool (candidates,), whether it
    is what the user bought next. ranks: float64 (candidates, lists), from 0 on, NaN where a list
    does not hold the item."""

    scores: Array
    users: Array
    new: Bools
    bought: Bools
    ranks: Array

    def of_parts(self) -> Array:
        """float64 (new answers, lists): NDCG@10 of each list, of those who bought a new item."""
        return _ndcg(self.ranks[self.bought & self.new])

    def fused(self, lift: float) -> Array:
        """float64 (new answers,): the same by score, where new items' scores are raised.

        >>> new, bought = np.array([False, True, False]), np.array([False, True, False])
        >>> ranks, of_user = np.array([[0.0], [np.nan], [1.0]]), np.zeros(3, int)
        >>> one_user = Scored(np.array([3.0, 2.0, 1.0]), of_user, new, bought, ranks)
        >>> one_user.of_parts().tolist(), one_user.fused(0.0).round(2), one_user.fused(2.0)
        ([[0.0]], array([0.63]), array([1.]))
        """
        lifted, is_answer = self.scores + lift * self.new, self.bought & self.new
        of_answer = np.full(self.users.max(initial=-1) + 1, np.inf)  # (users,)
        of_answer[self.users[is_answer]] = lifted[is_answer]
        above = self.users[lifted > of_answer[self.users]]
        ranks = np.bincount(above, minlength=len(of_answer))[self.users[is_answer]]
        return _ndcg(ranks)


def fitted_lift(scored: Iterable[Scored]) -> float:
    """The least lift with which new answers' mean NDCG@10 is higher than that of the best list, by
    more than the standard error of the paired difference; the highest that is tried where none is
    so high, 0 where nobody bought a new item."""
    parts = list(scored)
    of_lists = [part.of_parts() for part in parts]
    if sum(map(len, of_lists)) < _LEAST_ANSWERS:
        return 0.0
    by_list = np.concatenate(of_lists)  # (new answers, lists)
    best = by_list[:, by_list.mean(axis=0).argmax()]
    scale = float(np.std(np.concatenate([part.scores for part in parts])))
    for lift in (scale * step for step in _LIFTS):
        more = np.concatenate([part.fused(lift) for part in parts]) - best
        if more.mean() > more.std(ddof=1) / math.sqrt(len(more)):
            return lift
    return scale * _LIFTS[-1]


def _ndcg(ranks: Array) -> Array:
    """NDCG@10 of single answers at ranks from 0 on: 1 / log2(rank + 2); 0 further down and for NaN.

    >>> _ndcg(np.array([0.0, 2.0, 10.0, np.nan])).tolist()
    [1.0, 0.5, 0.0, 0.0]
    """
    gains: Array = np.where(ranks < _CUTOFF, 1 / np.log2(ranks + 2), 0.0)
    return gains


def _drawn(request: FusionRequest, share: float, seed: int = _SEED) -> frozenset[ItemId]:
    """A share of the items that somebody bought, the same whenever these are the same."""
    items = sorted(request.times_bought)
    drawn = np.random.default_rng(seed).random(len(items)) < share
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
