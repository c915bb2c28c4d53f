"""Many users' lists as columns: what rankings hold, without an object for every entry.

A split's lists hold millions of entries. Whoever reads all of them reads columns; whoever reads
them one by one gets a `Ranking` for each, made as it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, overload

import numpy as np
import polars as pl

from gloss.data.histories import UserId
from gloss.rankings.ranking import RankedItem, Ranking

__all__ = ["COLUMNS", "RankingTable", "distinct"]

Ints = np.ndarray[Any, np.dtype[np.int64]]

COLUMNS = {"items": pl.String, "scores": pl.Float64, "queries": pl.String, "because": pl.String}
"""What is known of each entry; in the order of the fields of a RankedItem."""


@dataclass(frozen=True, eq=False)
class RankingTable(Sequence[Ranking]):
    """Everybody's list, and a sequence of rankings: equal to any other of the same ones.

    lengths: int64 (users,), the entries of each list; entries: `COLUMNS` (entries,), user after
    user, best first.
    """

    users: tuple[UserId, ...]
    lengths: Ints
    entries: pl.DataFrame

    @classmethod
    def of(cls, rankings: Sequence[Ranking]) -> RankingTable:
        """The same rankings as columns; they themselves, if they are."""
        if isinstance(rankings, RankingTable):
            return rankings
        entries = [entry for ranking in rankings for entry in ranking.entries]
        columns = {name: [entry[place] for entry in entries] for place, name in enumerate(COLUMNS)}
        lengths = [len(ranking.entries) for ranking in rankings]
        return cls(
            tuple(ranking.user for ranking in rankings),
            np.array(lengths, dtype=np.int64),
            pl.DataFrame(columns, schema=COLUMNS),
        )

    @cached_property
    def starts(self) -> Ints:
        """int64 (users,): where each list begins among the entries."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def rows(self) -> Ints:
        """int64 (entries,): whose list each entry is in, as a place among the users."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @cached_property
    def places(self) -> Ints:
        """int64 (entries,): the place of each entry in its list, from 0 on."""
        return np.arange(len(self.entries)) - np.repeat(self.starts, self.lengths)

    @classmethod
    def joined(cls, parts: Sequence[RankingTable]) -> RankingTable:
        """The lists of some users, then those of others."""
        if not parts:
            return cls.of(())
        return cls(
            tuple(user for part in parts for user in part.users),
            np.concatenate([part.lengths for part in parts]),
            pl.concat([part.entries for part in parts], rechunk=True),
        )

    def first(self, length: int) -> RankingTable:
        """The first `length` entries of each list."""
        kept = self.entries.filter(pl.Series(self.places < length))
        return RankingTable(self.users, np.minimum(self.lengths, length), kept)

    def part(self, first: int, count: int) -> RankingTable:
        """The lists of at most `count` users, from the `first` on; nothing is copied."""
        users = slice(first, first + count)
        lengths = self.lengths[users]
        begin = int(self.starts[first]) if len(lengths) else 0
        return RankingTable(
            self.users[users], lengths, self.entries.slice(begin, int(lengths.sum()))
        )

    def __len__(self) -> int:
        return len(self.users)

    @overload
    def __getitem__(self, place: int) -> Ranking: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Ranking, ...]: ...
    def __getitem__(self, place: int | slice) -> Ranking | tuple[Ranking, ...]:
        if isinstance(place, slice):
            return tuple(self[each] for each in range(len(self))[place])
        found = self.entries.slice(int(self.starts[place]), int(self.lengths[place]))
        return Ranking(self.users[place], tuple(map(RankedItem._make, found.iter_rows())))

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
    """The distinct strings of several columns, and for each column which of them stands where.

    Returns str (distinct,), as they first stand, and int64 (entries,) for each column. No string
    may be null.

    >>> names, (first, second) = distinct([pl.Series(["b", "a", "b"]), pl.Series(["c", "a"])])
    >>> names.to_list(), first.tolist(), second.tolist()
    (['b', 'a', 'c'], [0, 1, 0], [2, 1])
    """
    each_once = [column.unique(maintain_order=True) for column in columns]
    names = pl.concat(each_once).unique(maintain_order=True)
    kind = pl.Enum(names)
    physical = (column.cast(kind).to_physical().to_numpy() for column in columns)
    return names, [numbers.astype(np.int64) for numbers in physical]
