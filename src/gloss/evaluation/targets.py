"""What the users of a split bought next, and the ranks that lists give it, some users at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from gloss.arrays import Bools, Ints
from gloss.data.example_table import ExampleTable
from gloss.errors import InputError
from gloss.evaluation.metrics import target_ranks
from gloss.rankings.table import RankingTable

__all__ = ["TargetRanks", "Targets"]

_NOT_RANKED = -1


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The examples of a split without what was in their histories.

    users, items: str (users,), who was asked and what they bought next; lengths: int64 (users,), of
    their histories.
    """

    users: pl.Series
    items: pl.Series
    lengths: Ints

    @classmethod
    def of(cls, parts: Iterable[ExampleTable]) -> Targets:
        """Of examples that come some at a time."""
        frames = [
            part.frame.select("user", "target", length=pl.col("history").list.len().cast(pl.Int64))
            for part in parts
        ]
        frame = pl.concat(frames, rechunk=True)
        return cls(frame["user"], frame["target"], frame["length"].to_numpy())

    def of_users(self, kept: Bools) -> Targets:
        """Of some of the users. kept: bool (users,)."""
        mask = pl.Series(kept)
        return Targets(self.users.filter(mask), self.items.filter(mask), self.lengths[kept])


class TargetRanks:
    """The rank of each user's target in the user's list: give all lists to `add`, in any order."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._row_of = targets.users.to_frame("user").with_row_index("row")
        self._ranks = np.full(len(targets.users), _NOT_RANKED, np.int64)
        self._unknown: list[str] = []

    def add(self, lists: RankingTable) -> None:
        """The lists of some users. Raises InputError for a user who comes twice."""
        users = pl.DataFrame({"user": lists.users}, schema={"user": pl.String})
        rows = users.join(self._row_of, on="user", how="left", maintain_order="left")["row"]
        known, known_rows = rows.is_not_null(), rows.drop_nulls().to_numpy()
        if users["user"].n_unique() < len(users) or (self._ranks[known_rows] >= 0).any():
            raise InputError("the ranking holds a user twice")
        self._unknown += users["user"].filter(~known).to_list()
        targets = self._targets.items.gather(rows)  # null for an unknown user
        self._ranks[known_rows] = target_ranks(lists, targets)[known.to_numpy()]

    def ranked(self) -> tuple[Targets, Ints]:
        """The targets of the users who were ranked, in the order of the split, and the ranks, int64
        (users,), from 1; 0 where a list lacks its target.

        Raises InputError where nobody was ranked, or somebody who is not in the split.
        """
        if self._unknown:
            raise InputError(
                f"user {min(self._unknown)} and {len(self._unknown) - 1} more of the ranking are "
                "not in the split; evaluate on the split and data set that the ranking was made for"
            )
        ranked = self._ranks != _NOT_RANKED
        if not ranked.any():
            raise InputError("the ranking holds no users: there is nothing to evaluate")
        return self._targets.of_users(ranked), self._ranks[ranked]
