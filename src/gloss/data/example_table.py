"""Many examples as one table: columns instead of an object for every purchase.

The users of a split may be millions. Code that reads all of them reads columns; code that reads
one after the other gets an `Example` for each, made when it is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import polars as pl

from gloss.arrays import Ints
from gloss.data.histories import Example, UserId

__all__ = ["EXAMPLE_COLUMNS", "ExampleTable"]

EXAMPLE_COLUMNS: dict[str, Any] = {
    "user": pl.String,
    "history": pl.List(pl.String),
    "target": pl.String,
}
"""The columns of a split: the fields of an `Example`, in their order."""

_BATCH_USERS = 1 << 12
"""Examples that are made at a time where all are gone through."""


@dataclass(frozen=True, eq=False)
class ExampleTable(Sequence[Example]):
    """A sequence of `Example`, equal to any other of the same. frame: `EXAMPLE_COLUMNS`.

    >>> table = ExampleTable.of([Example("u", ("a", "b"), "c"), Example("v", (), "a")])
    >>> table[1], table.lengths.tolist(), len(table.of_users({"u"}))
    (Example(user='v', history=(), target='a'), [2, 0], 1)
    """

    frame: pl.DataFrame

    @classmethod
    def of(cls, examples: Sequence[Example]) -> ExampleTable:
        """The table of these examples; returned as it is if it is a table already."""
        if isinstance(examples, ExampleTable):
            return examples
        columns = {
            "user": [example.user for example in examples],
            "history": [list(example.history) for example in examples],
            "target": [example.target for example in examples],
        }
        return cls(pl.DataFrame(columns, schema=EXAMPLE_COLUMNS))

    @property
    def users(self) -> tuple[UserId, ...]:
        """The users, in order."""
        return tuple(self.frame["user"].to_list())

    @property
    def lengths(self) -> Ints:
        """int64 (examples,): the purchases of each history."""
        lengths: Ints = self.frame["history"].list.len().cast(pl.Int64).to_numpy()
        return lengths

    def of_users(self, users: Collection[UserId]) -> ExampleTable:
        """The examples of these users, in their order."""
        wanted = pl.Series(list(users), dtype=pl.String).implode()
        return ExampleTable(self.frame.filter(pl.col("user").is_in(wanted)))

    def __len__(self) -> int:
        return len(self.frame)

    @overload
    def __getitem__(self, row: int) -> Example: ...
    @overload
    def __getitem__(self, row: slice) -> ExampleTable: ...
    def __getitem__(self, row: int | slice) -> Example | ExampleTable:
        if isinstance(row, slice):
            return ExampleTable(self.frame[row])
        user, history, target = self.frame.row(row)
        return Example(user, tuple(history), target)

    def __iter__(self) -> Iterator[Example]:
        for part in self.frame.iter_slices(_BATCH_USERS):
            for user, history, target in part.iter_rows():
                yield Example(user, tuple(history), target)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))
