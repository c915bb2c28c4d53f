"""What several lists say of a user's items, side by side: where every fusion of signals begins.

An item that a list does not hold gets that list's floor: its lowest score, and no place. Knows
rankings; knows neither what made them nor how they are joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gloss.data.catalogue import ItemId
from gloss.errors import ConfigError, InputError
from gloss.retrieval.fusion import RankedItem, Ranking

__all__ = ["ABSENT", "Array", "Candidates", "candidates"]

Array = np.ndarray[Any, Any]

ABSENT = -1
"""The place of an item in a list that does not hold it."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """All items of a user's lists, in the order in which the lists, first to last, name them.

    scores: float64 (items, lists), the item's in each list or the list's floor, 0 in an empty one;
    places: int64 (items, lists), from 0 on, or `ABSENT`.
    """

    lists: Sequence[Ranking]
    items: list[ItemId]
    scores: Array
    places: Array

    @property
    def held(self) -> Array:
        """bool (items, lists): whether the list holds the item."""
        held: Array = self.places != ABSENT
        return held

    def ranked(self, scores: Array, lifts: Array, *, length: int) -> Ranking:
        """The `length` items with the highest scores; equal ones stay in their order.

        scores: (items,). lifts: (items, lists), what each list did for an item, which carries the
        query and the purchase of the one that holds it and did most.
        """
        told = [{entry.item: entry for entry in each.entries} for each in self.lists]
        credited = np.where(self.held, lifts, -np.inf).argmax(axis=1).tolist()
        entries = []
        for row in np.argsort(-scores, kind="stable")[:length].tolist():
            item = self.items[row]
            reason = told[credited[row]][item]
            entries.append(RankedItem(item, float(scores[row]), reason.query, reason.because))
        return Ranking(self.lists[0].user, tuple(entries))


def candidates(signals: Sequence[Sequence[Ranking]]) -> Iterator[Candidates]:
    """Everybody's candidates, in the order of the users.

    signals: for each signal everybody's list. Raises ConfigError without a signal, InputError when
    the lists are not of the same users.
    """
    if not signals:
        raise ConfigError("a fusion needs at least one ranking")
    if len({len(each) for each in signals}) > 1:
        raise InputError("the rankings to fuse are of different numbers of users")
    for lists in zip(*signals, strict=True):
        if len({ranking.user for ranking in lists}) > 1:
            raise InputError(f"the rankings to fuse are not of the same users: {lists[0].user}")
        yield _candidates(lists)


def _candidates(lists: Sequence[Ranking]) -> Candidates:
    rows: dict[ItemId, int] = {}
    for ranking in lists:
        for entry in ranking.entries:
            rows.setdefault(entry.item, len(rows))
    scores = np.zeros((len(rows), len(lists)))
    places = np.full((len(rows), len(lists)), ABSENT)
    for number, ranking in enumerate(lists):
        if ranking.entries:
            held = [rows[entry.item] for entry in ranking.entries]
            found = np.array([entry.score for entry in ranking.entries])
            scores[:, number] = found.min()
            scores[held, number] = found
            places[held, number] = np.arange(len(held))
    return Candidates(lists, list(rows), scores, places)
