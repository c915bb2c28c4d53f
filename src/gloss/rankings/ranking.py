"""A user's ranked list: what every recommender ends in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gloss.data.catalogue import ItemId
from gloss.data.histories import UserId

__all__ = ["RankedItem", "Ranking"]


class RankedItem(NamedTuple):
    """An item in a user's list, and why it is there.

    query: the generated title that put it there, if one did. because: the bought item that did.
    """

    item: ItemId
    score: float
    query: str | None = None
    because: ItemId | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """A user's list, best first, without repeats; the order is final."""

    user: UserId
    entries: tuple[RankedItem, ...]
