"""The items of several lists side by side: where every fusion of rankers begins.

The candidates of a user are all items of the user's lists. For two lists

    first    a .9   b .4
    second   c  7   a  5

there are three, in the order in which the lists, first to last, name them:

    items     a       b       c
    scores    .9  5   .4  5   .4  7      # (candidates, lists)
    ranks      0  1    1  -    -  0      # (candidates, lists)

An item that a list does not hold has no rank there, and that list's missing score: its lowest one.
Knows rankings; knows neither what made them nor how they are joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl

from gloss.arrays import Array, ranks_of, reduced_by_list
from gloss.data.catalogue import ItemId
from gloss.errors import ConfigError, InputError
from gloss.rankings.table import COLUMNS, RankingTable, distinct

__all__ = ["UNLISTED", "Array", "Candidates", "aligned", "candidates"]

T = TypeVar("T")

UNLISTED = -1
"""The rank of an item in a list that does not hold it."""

_BATCH_USERS = 256
"""Users whose candidates are held at once. Asked for one user at a time, trees would keep a single
thread busy."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The candidates of some users, user after user.

    lists: for each ranker the lists of these users. names: str (distinct items,), of all users.

    users: int64 (candidates,), the row in the lists of the user whose candidate it is. codes: int64
    (candidates,), the item, as a place in the names. scores: float64 (candidates, lists), the score
    in each list or the list's missing score, 0 in an empty list. ranks: int64 (candidates, lists),
    from 0 on, or `UNLISTED`.
    """

    lists: Sequence[RankingTable]
    names: pl.Series
    users: Array
    codes: Array
    scores: Array
    ranks: Array

    @property
    def items(self) -> list[ItemId]:
        """What the candidates are."""
        return self.names[self.codes].to_list()

    @property
    def listed(self) -> Array:
        """bool (candidates, lists): whether the list holds the item."""
        listed: Array = self.ranks != UNLISTED
        return listed

    def per_user(self, reduce: np.ufunc, values: Array) -> Array:
        """(candidates, …): what `reduce` makes of the values of all of a user's candidates, beside
        each of them.

        values: (candidates, …). The largest of the values 3 1 2 of users 0 0 1 is 3 3 2.
        """
        starts = np.flatnonzero(np.diff(self.users, prepend=-1))  # (users with candidates,)
        counts = np.diff(starts, append=len(self.users))
        return np.repeat(reduce.reduceat(values, starts), counts, axis=0)

    def bought(self, targets: Sequence[ItemId]) -> Array:
        """bool (candidates,): whether the item is what its user bought next.

        targets: what each of these users bought next.
        """
        of_users = pl.Series(targets, dtype=pl.String)
        bought: Array = (self.names[self.codes] == of_users[self.users]).to_numpy()
        return bought

    def ranked(self, scores: Array, contributions: Array, *, length: int) -> RankingTable:
        """Each user's `length` candidates with the highest scores; equal ones stay in their order.

        scores: (candidates,). contributions: (candidates, lists), what each list adds to a score;
        an item carries the query and the purchase of the list that holds it and adds most.
        """
        order = np.lexsort((-scores, self.users))  # by user, then by score; lexsort is stable
        counts = np.bincount(self.users, minlength=len(self.lists[0]))  # (users,)
        best = order[ranks_of(counts) < length]
        strongest = np.where(self.listed[best], contributions[best], -np.inf).argmax(axis=1)
        items = pl.DataFrame({"items": self.names[self.codes[best]], "scores": scores[best]})
        entries = items.hstack(self._reasons(best, strongest)).select(*COLUMNS)
        return RankingTable(self.lists[0].users, np.minimum(counts, length), entries)

    def ranked_by_sum(self, terms: Array, *, length: int) -> RankingTable:
        """The same, where a score is the sum of a term for each list.

        terms: (candidates, lists). A list contributes what it gives an item beyond the least that
        it gives to any candidate of the user, which is what it gives to an item it does not hold.
        """
        contributions = terms - self.per_user(np.minimum, terms)
        return self.ranked(terms.sum(axis=1), contributions, length=length)

    def _reasons(self, rows: Array, lists: Array) -> pl.DataFrame:
        """The query and the purchase of some candidates, from one list each.

        rows: int64 (some candidates,); lists: int64 (some candidates,), the number of a list that
        holds the candidate.
        """
        parts = []
        for number, table in enumerate(self.lists):
            credited = np.flatnonzero(lists == number)
            of_user = table.starts[self.users[rows[credited]]]
            entries = of_user + self.ranks[rows[credited], number]
            reasons = table.entries.select(pl.col("queries", "because").gather(entries))
            parts.append(reasons.with_columns(pl.Series("row", credited)))
        return pl.concat(parts).sort("row").drop("row")


def candidates(lists: Sequence[RankingTable]) -> Iterator[Candidates]:
    """Everybody's candidates, batch after batch of users, in their order.

    lists: for each ranker everybody's list. Raises ConfigError without a ranker, InputError when
    the lists are not of the same users.
    """
    if not lists:
        raise ConfigError("a fusion needs at least one ranking")
    _require_same_users(lists)
    names, codes = distinct([table.entries["items"] for table in lists])
    for first in range(0, len(lists[0]), _BATCH_USERS):
        parts = [table.part(first, _BATCH_USERS) for table in lists]
        begins = [int(table.starts[first]) for table in lists]
        of_parts = [c[b : b + len(p.entries)] for c, b, p in zip(codes, begins, parts, strict=True)]
        yield _candidates(parts, names, of_parts)


def aligned(
    batches: Iterable[Candidates], of_users: Sequence[T]
) -> Iterator[tuple[Candidates, Sequence[T]]]:
    """Batches of candidates, each with what belongs to its users. Raises ValueError when there are
    not as many users."""
    first = 0
    for batch in batches:
        count = len(batch.lists[0])
        yield batch, of_users[first : first + count]
        first += count
    if first != len(of_users):
        raise ValueError(f"candidates of {first} users, {len(of_users)} histories")


def _require_same_users(lists: Sequence[RankingTable]) -> None:
    if len({len(table) for table in lists}) > 1:
        raise InputError("the rankings to fuse are of different numbers of users")
    for same in zip(*(table.users for table in lists), strict=True):
        if len(set(same)) > 1:
            raise InputError(f"the rankings to fuse are not of the same users: {same[0]}")


def _candidates(
    lists: Sequence[RankingTable], names: pl.Series, codes: Sequence[Array]
) -> Candidates:
    """The candidates of one batch. codes: for each list int64 (its entries,), places in names."""
    keys = [table.rows * len(names) + code for table, code in zip(lists, codes, strict=True)]
    users, items, candidate_of = _numbered(np.concatenate(keys), len(names))
    scores = np.zeros((len(users), len(lists)))
    ranks = np.full((len(users), len(lists)), UNLISTED)
    ends = np.cumsum([len(of_list) for of_list in keys])
    of_lists = np.split(candidate_of, ends[:-1])
    for number, (table, listed) in enumerate(zip(lists, of_lists, strict=True)):
        in_list = table.entries["scores"].to_numpy()
        missing_scores = reduced_by_list(np.minimum, in_list, table.lengths)  # (users,)
        scores[:, number] = missing_scores[users]
        scores[listed, number] = in_list
        ranks[listed, number] = table.ranks
    return Candidates(lists, names, users, items, scores, ranks)


def _numbered(keys: Array, size: int) -> tuple[Array, Array, Array]:
    """Candidates from entries: user after user, the items of each as they are first named.

    keys: int64 (entries,), user times `size` plus item. Returns each candidate's user and item, and
    which candidate each entry is.

    >>> users, items, candidate_of = _numbered(np.array([12, 3, 1, 3, 14]), 10)
    >>> users.tolist(), items.tolist(), candidate_of.tolist()
    ([0, 0, 1, 1], [3, 1, 2, 4], [2, 0, 1, 0, 3])
    """
    distinct_keys, first, which = np.unique(keys, return_index=True, return_inverse=True)
    order = np.lexsort((first, distinct_keys // size if size else distinct_keys))
    row_of = np.empty(len(order), np.int64)
    row_of[order] = np.arange(len(order))
    return *np.divmod(distinct_keys[order], max(size, 1)), row_of[which]
