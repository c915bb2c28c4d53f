"""Catalogues that change after a ranker was trained: which items it knows, asked about any.

A network has a row for each item that it was trained on, in the order of that catalogue. Items that
are removed keep their row there, and are never listed; items that are added have none. Here is the
one place where both catalogues meet; a ranker sees its own alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gloss.arrays import Ints
from gloss.data.catalogue import Catalogue
from gloss.data.histories import History
from gloss.rankers.ranker import Ranker, RankRequest
from gloss.rankings.table import RankingTable

__all__ = ["KnownItems", "added_titles", "with_added"]


def with_added(trained: Catalogue, catalogue: Catalogue) -> Catalogue:
    """The items of a training, in their order, then those that the catalogue has since.

    >>> from gloss.data.catalogue import Item, ItemId
    >>> a, b, c = (Item(ItemId(name), f"Kite {name}") for name in "abc")
    >>> [item.id for item in with_added(Catalogue([a, b]), Catalogue([b, c]))]
    ['a', 'b', 'c']
    """
    return Catalogue([*trained, *(item for item in catalogue if item.id not in trained)])


def added_titles(trained: Catalogue, catalogue: Catalogue) -> tuple[str, ...]:
    """The distinct titles of `with_added` that no item of the training has, in order."""
    titles = with_added(trained, catalogue).titles  # a title stands where it first stands
    return titles[len(trained.titles) :]


@dataclass(frozen=True, slots=True, eq=False)
class KnownItems:
    """A ranker of the items that it knows, asked with histories and rows of another catalogue.

    rows: int64 (known,), the row of each known item in that catalogue, -1 for one that is gone.
    """

    ranker: Ranker
    known: Catalogue
    rows: Ints

    @classmethod
    def of(cls, ranker: Ranker, known: Catalogue, catalogue: Catalogue) -> KnownItems:
        """known: the ranker's own catalogue."""
        rows = [catalogue.row(item.id) if item.id in catalogue else -1 for item in known]
        return cls(ranker, known, np.array(rows, np.int64))

    def rank(self, request: RankRequest) -> RankingTable:
        """Everybody's list by the purchases that the ranker knows; without any it is empty, unless
        the ranker says otherwise."""
        allowed = self.rows >= 0
        if request.allowed is not None:
            allowed &= request.allowed[self.rows]  # what -1 finds is not counted
        histories = [
            History(history.user, tuple(item for item in history.items if item in self.known))
            for history in request.histories
        ]
        return self.ranker.rank(replace(request, histories=histories, allowed=allowed))
