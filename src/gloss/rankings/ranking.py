"""A user's ranked list: what every ranker and every recommender returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gloss.data.catalogue import ItemId
from gloss.data.histories import UserId

__all__ = ["RankedItem", "Ranking"]


class RankedItem(NamedTuple):
    """An item in a user's list, and why it is there.

    score: of its ranker; scores of different rankers, and of different users, do not compare.
    query: the generated title that found the item, if one did. because: the purchase that led to
    it, if one did.
    """

    item: ItemId
    score: float
    query: str | None = None
    because: ItemId | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """A user's list: distinct items, best first; the order is final."""

    user: UserId
    entries: tuple[RankedItem, ...]
