"""Lists that are too short, ended with what is bought most. Knows counts; no ranker."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain, islice

import numpy as np

from gloss.arrays import Ints
from gloss.data.catalogue import ItemId
from gloss.rankings.ranking import RankedItem, Ranking

__all__ = ["by_popularity", "continued", "filled"]


def by_popularity(items: Sequence[ItemId], times_bought: Ints) -> tuple[RankedItem, ...]:
    """All items, the most bought first, equals in the order given; scored by their purchases.

    items: in the order of the rows. times_bought: int64 (items,).

    >>> [entry.item for entry in by_popularity(["a", "b", "c"], np.array([1, 5, 5]))]
    ['b', 'c', 'a']
    """
    rows = np.argsort(-times_bought, kind="stable").tolist()
    return tuple(RankedItem(items[row], float(times_bought[row])) for row in rows)


def continued(ranking: Ranking, others: Iterable[RankedItem], *, length: int) -> Ranking:
    """The list, and behind it those of the others that it lacks, up to `length` in all."""
    own = {entry.item for entry in ranking.entries}
    more = (entry for entry in others if entry.item not in own)
    return Ranking(ranking.user, tuple(islice(chain(ranking.entries, more), length)))


def filled(
    ranking: Ranking,
    popular: Iterable[RankedItem],
    *,
    length: int,
    without: Collection[ItemId] = frozenset(),
) -> Ranking:
    """The list, ended with popular items, but for those `without`, up to `length`.

    Their scores go on where those of the list end, 1 less each: how often something was bought does
    not compare with what a ranker says.
    """
    own = ranking.entries
    if len(own) >= length:
        return ranking
    wanted = (each for each in popular if each.item not in without)
    more = continued(ranking, wanted, length=length).entries[len(own) :]
    last = own[-1].score if own else 0.0
    scored = (RankedItem(each.item, last - place) for place, each in enumerate(more, 1))
    return Ranking(ranking.user, (*own, *scored))
