"""What several lists say of users' items, side by side: where every fusion of rankers begins.

An item that a list does not hold gets that list's floor: its lowest score, and no place. Knows
rankings; knows neither what made them nor how they are joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import polars as pl

from gloss.data.catalogue import ItemId
from gloss.data.histories import Example, Question
from gloss.errors import ConfigError, InputError
from gloss.rankings.ranking import Ranking
from gloss.rankings.table import COLUMNS, RankingTable, distinct

__all__ = ["ABSENT", "Array", "Candidates", "candidates", "with_questions"]

Array = np.ndarray[Any, Any]

_Asked = TypeVar("_Asked", bound=Question)

ABSENT = -1
"""The place of an item in a list that does not hold it."""

_TOGETHER = 256
"""Users whose candidates are held at once; asked about one alone, trees keep one thread busy."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """All items of the lists of some users. A user's items stand together, in the order in which
    the lists, first to last, name them.

    lists: for each ranker the lists of these users; names: str (items of anybody,). For each
    candidate: users, int64 (candidates,), whose it is, as a place in the lists; codes, int64
    (candidates,), its place in the names; scores, float64 (candidates, lists), the item's in each
    list or the list's floor, 0 in an empty one; places, int64 (candidates, lists), from 0 on, or
    `ABSENT`.
    """

    lists: Sequence[RankingTable]
    names: pl.Series
    users: Array
    codes: Array
    scores: Array
    places: Array

    @property
    def items(self) -> list[ItemId]:
        """What the candidates are."""
        return self.names[self.codes].to_list()

    @property
    def held(self) -> Array:
        """bool (candidates, lists): whether the list holds the item."""
        held: Array = self.places != ABSENT
        return held

    def per_user(self, reduce: np.ufunc, values: Array) -> Array:
        """What `reduce` makes of the values of all of a user's candidates, beside each of them.

        values and result: (candidates, …).
        """
        starts = np.flatnonzero(np.diff(self.users, prepend=-1))
        lengths = np.diff(starts, append=len(self.users))
        return np.repeat(reduce.reduceat(values, starts), lengths, axis=0)

    def bought(self, examples: Sequence[Example]) -> Array:
        """bool (candidates,): which items are what their users bought next. examples: of these
        users."""
        targets = pl.Series([example.target for example in examples], dtype=pl.String)
        found: Array = (self.names[self.codes] == targets[self.users]).to_numpy()
        return found

    def ranked(self, scores: Array, lifts: Array, *, length: int) -> RankingTable:
        """Each user's `length` items with the highest scores; equal ones stay in their order.

        scores: (candidates,). lifts: (candidates, lists), what each list did for an item, which
        carries the query and the purchase of the one that holds it and did most.
        """
        order = np.lexsort((-scores, self.users))
        found = np.bincount(self.users, minlength=len(self.lists[0]))
        place = np.arange(len(order)) - np.repeat(np.cumsum(found) - found, found)
        best = order[place < length]
        most = np.where(self.held[best], lifts[best], -np.inf).argmax(axis=1)
        items = pl.DataFrame({"items": self.names[self.codes[best]], "scores": scores[best]})
        entries = items.hstack(self._reasons(best, most)).select(*COLUMNS)
        return RankingTable(self.lists[0].users, np.minimum(found, length), entries)

    def _reasons(self, rows: Array, credited: Array) -> pl.DataFrame:
        """The query and the purchase of each of these candidates, from the list it is credited to.

        rows, credited: int64 (some candidates,).
        """
        parts = []
        for number, each in enumerate(self.lists):
            mine = np.flatnonzero(credited == number)
            entry = each.starts[self.users[rows[mine]]] + self.places[rows[mine], number]
            told = each.entries.select(pl.col("queries", "because").gather(entry))
            parts.append(told.with_columns(pl.Series("row", mine)))
        return pl.concat(parts).sort("row").drop("row")


def candidates(rankers: Sequence[Sequence[Ranking]]) -> Iterator[Candidates]:
    """Everybody's candidates, some users at a time, in their order.

    rankers: for each ranker everybody's list. Raises ConfigError without a ranker, InputError when
    the lists are not of the same users.
    """
    if not rankers:
        raise ConfigError("a fusion needs at least one ranking")
    lists = [RankingTable.of(each) for each in rankers]
    _require_same_users(lists)
    names, codes = distinct([each.entries["items"] for each in lists])
    for first in range(0, len(lists[0]), _TOGETHER):
        parts = [each.part(first, _TOGETHER) for each in lists]
        begins = [int(each.starts[first]) for each in lists]
        some = [c[b : b + len(p.entries)] for c, b, p in zip(codes, begins, parts, strict=True)]
        yield _candidates(parts, names, some)


def with_questions(
    everybody: Iterable[Candidates], questions: Sequence[_Asked]
) -> Iterator[tuple[Candidates, Sequence[_Asked]]]:
    """Candidates and the questions of their users; both must be of the same number of users."""
    first = 0
    for each in everybody:
        count = len(each.lists[0])
        yield each, questions[first : first + count]
        first += count
    if first != len(questions):
        raise ValueError(f"candidates of {first} users, {len(questions)} questions")


def _require_same_users(lists: Sequence[RankingTable]) -> None:
    if len({len(each) for each in lists}) > 1:
        raise InputError("the rankings to fuse are of different numbers of users")
    for same in zip(*(each.users for each in lists), strict=True):
        if len(set(same)) > 1:
            raise InputError(f"the rankings to fuse are not of the same users: {same[0]}")


def _candidates(
    lists: Sequence[RankingTable], names: pl.Series, codes: Sequence[Array]
) -> Candidates:
    """codes: for each list int64 (its entries,)."""
    keys = [each.rows * len(names) + code for each, code in zip(lists, codes, strict=True)]
    users, items, rows = _numbered(np.concatenate(keys), len(names))
    scores = np.zeros((len(users), len(lists)))
    places = np.full((len(users), len(lists)), ABSENT)
    ends = np.cumsum([len(each) for each in keys])
    for number, (each, held) in enumerate(zip(lists, np.split(rows, ends[:-1]), strict=True)):
        found = each.entries["scores"].to_numpy()
        scores[:, number] = _floors(each, found)[users]
        scores[held, number] = found
        places[held, number] = each.places
    return Candidates(lists, names, users, items, scores, places)


def _numbered(keys: Array, size: int) -> tuple[Array, Array, Array]:
    """Candidates from entries: user after user, the items of each as they are first named.

    keys: int64 (entries,), user times `size` plus item. Returns each candidate's user and item,
    and which candidate each entry is.
    """
    once, first, which = np.unique(keys, return_index=True, return_inverse=True)
    order = np.lexsort((first, once // size if size else once))
    row_of = np.empty(len(order), np.int64)
    row_of[order] = np.arange(len(order))
    return *np.divmod(once[order], max(size, 1)), row_of[which]


def _floors(lists: RankingTable, scores: Array) -> Array:
    """float64 (users,): the lowest score of each list, 0 for an empty one."""
    floors, filled = np.zeros(len(lists)), lists.lengths > 0
    floors[filled] = np.minimum.reduceat(scores, lists.starts[filled])
    return floors
