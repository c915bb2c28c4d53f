"""Everybody's histories as arrays of rows of a catalogue. Knows rows only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from gloss.arrays import Ints, owners_of
from gloss.data.catalogue import Catalogue
from gloss.data.histories import History

__all__ = ["HistoryRows"]


@dataclass(frozen=True, slots=True, eq=False)
class HistoryRows:
    """Everybody's purchases as ragged arrays (see `gloss.arrays`): what rankers count.

    rows: int32 (purchases,), each item's row in the catalogue, user after user, earliest first;
    lengths: int64 (users,). Millions of purchases take 4 bytes each instead of an object.

    >>> from gloss.data.catalogue import Item
    >>> catalogue = Catalogue([Item("kite", "Red kite"), Item("soap", "Blue soap")])
    >>> found = HistoryRows.of([History("u", ("soap", "kite")), History("v", ("soap",))], catalogue)
    >>> found.rows.tolist(), found.lengths.tolist(), found.owners.tolist()
    ([1, 0, 1], [2, 1], [0, 0, 1])
    """

    rows: np.ndarray[Any, np.dtype[np.int32]]
    lengths: Ints

    @classmethod
    def of(cls, histories: Iterable[History], catalogue: Catalogue) -> HistoryRows:
        """The same as objects; all purchases are of the catalogue's items."""
        items = [history.items for history in histories]
        rows = np.fromiter(map(catalogue.row, chain.from_iterable(items)), np.int32)
        return cls(rows, np.array([len(each) for each in items], np.int64))

    @property
    def owners(self) -> Ints:
        """int64 (purchases,): the number of the user who made each purchase."""
        return owners_of(self.lengths)
