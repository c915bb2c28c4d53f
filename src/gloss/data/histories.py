"""What people bought, in order. Knows ids only; knows no titles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NewType

from gloss.data.catalogue import ItemId

__all__ = ["Example", "History", "UserId", "times_bought"]

UserId = NewType("UserId", str)


@dataclass(frozen=True, slots=True)
class History:
    """A user's purchases, earliest first; repeats are kept."""

    user: UserId
    items: tuple[ItemId, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """A question with its answer: what was bought before, and what was bought next."""

    user: UserId
    history: tuple[ItemId, ...]
    target: ItemId


def times_bought(histories: Iterable[History]) -> Counter[ItemId]:
    """How often each item was bought, repeats counted; 0 for others."""
    return Counter(item for history in histories for item in history.items)
