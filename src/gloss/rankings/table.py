"""Many users' ranked lists as one table: columns instead of an object for every entry.

The lists of a split hold millions of entries. Code that reads all of them reads columns; code that
reads list by list gets a `Ranking` for each, made when it is read. The lists are ragged arrays (see
`gloss.arrays`):

    users     u  v  w                     # (users,)
    lengths   2  0  3                     # (users,)
    items     b1 b2 b2 b3 b1              # (entries,)  u's list is b1, b2; v's is empty
    scores    .9 .4  7  7  1              # (entries,)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import overload

import numpy as np
import polars as pl

from gloss.arrays import Ints, owners_of, ranks_of, starts_of
from gloss.data.histories import UserId
from gloss.rankings.ranking import RankedItem, Ranking

__all__ = ["COLUMNS", "RankingTable", "distinct"]

COLUMNS = {"items": pl.String, "scores": pl.Float64, "queries": pl.String, "because": pl.String}
"""The columns of the entries: the fields of a `RankedItem`, in their order."""


@dataclass(frozen=True, eq=False)
class RankingTable(Sequence[Ranking]):
    """The ranked lists of many users: a sequence of `Ranking`, equal to any other of the same.

    lengths: int64 (users,), how many entries each list has; entries: the columns `COLUMNS`, each
    (entries,), user after user and best first.

    >>> table = RankingTable.of([Ranking("u", (RankedItem("b1", 0.9),)), Ranking("v", ())])
    >>> table.users, table.lengths.tolist(), table.entries["items"].to_list()
    (('u', 'v'), [1, 0], ['b1'])
    >>> table[0].entries[0].item
    'b1'
    """

    users: tuple[UserId, ...]
    lengths: Ints
    entries: pl.DataFrame

    @classmethod
    def of(cls, rankings: Sequence[Ranking]) -> RankingTable:
        """The table of these rankings; returned as it is if it is a table already."""
        if isinstance(rankings, RankingTable):
            return rankings
        entries = [entry for ranking in rankings for entry in ranking.entries]
        columns = {name: [entry[field] for entry in entries] for field, name in enumerate(COLUMNS)}
        lengths = [len(ranking.entries) for ranking in rankings]
        return cls(
            tuple(ranking.user for ranking in rankings),
            np.array(lengths, dtype=np.int64),
            pl.DataFrame(columns, schema=COLUMNS),
        )

    @cached_property
    def starts(self) -> Ints:
        """int64 (users,): where each list begins among the entries."""
        return starts_of(self.lengths)

    @cached_property
    def rows(self) -> Ints:
        """int64 (entries,): the row in `users` of the user in whose list each entry is."""
        return owners_of(self.lengths)

    @cached_property
    def ranks(self) -> Ints:
        """int64 (entries,): the rank of each entry in its list, from 0 on."""
        return ranks_of(self.lengths)

    @classmethod
    def joined(cls, parts: Sequence[RankingTable]) -> RankingTable:
        """One table of the users of all parts, in their order."""
        if not parts:
            return cls.of(())
        return cls(
            tuple(user for part in parts for user in part.users),
            np.concatenate([part.lengths for part in parts]),
            pl.concat([part.entries for part in parts], rechunk=True),
        )

    def first(self, length: int) -> RankingTable:
        """The first `length` entries of each list."""
        kept = self.entries.filter(pl.Series(self.ranks < length))
        return RankingTable(self.users, np.minimum(self.lengths, length), kept)

    def part(self, first: int, count: int) -> RankingTable:
        """The lists of at most `count` users, from row `first` on; no entry is copied."""
        users = slice(first, first + count)
        lengths = self.lengths[users]
        start = int(self.starts[first]) if len(lengths) else 0
        return RankingTable(
            self.users[users], lengths, self.entries.slice(start, int(lengths.sum()))
        )

    def __len__(self) -> int:
        return len(self.users)

    @overload
    def __getitem__(self, row: int) -> Ranking: ...
    @overload
    def __getitem__(self, row: slice) -> tuple[Ranking, ...]: ...
    def __getitem__(self, row: int | slice) -> Ranking | tuple[Ranking, ...]:
        if isinstance(row, slice):
            return tuple(self[each] for each in range(len(self))[row])
        entries = self.entries.slice(int(self.starts[row]), int(self.lengths[row]))
        return Ranking(self.users[row], tuple(map(RankedItem._make, entries.iter_rows())))

    def __iter__(self) -> Iterator[Ranking]:
        columns = [self.entries[name].to_list() for name in COLUMNS]
        entries = map(RankedItem._make, zip(*columns, strict=True))
        for user, length in zip(self.users, self.lengths.tolist(), strict=True):
            yield Ranking(user, tuple(islice(entries, length)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))


def distinct(columns: Sequence[pl.Series]) -> tuple[pl.Series, list[Ints]]:
    """Number the distinct strings of several columns.

    Returns the names, str (distinct,), in the order of their first appearance, and for each column
    its codes, int64 (entries,): `names[codes]` is the column. No string may be null.

    >>> names, (first, second) = distinct([pl.Series(["b", "a", "b"]), pl.Series(["c", "a"])])
    >>> names.to_list(), first.tolist(), second.tolist()
    (['b', 'a', 'c'], [0, 1, 0], [2, 1])
    """
    unique = [column.unique(maintain_order=True) for column in columns]
    names = pl.concat(unique).unique(maintain_order=True)
    enumeration = pl.Enum(names)  # polars stores an Enum as the numbers of its categories
    codes = (column.cast(enumeration).to_physical().to_numpy() for column in columns)
    return names, [each.astype(np.int64) for each in codes]
