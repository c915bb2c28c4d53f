"""What people bought, in order. Knows ids only; knows no titles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from gloss.data.catalogue import ItemId

__all__ = ["Example", "History", "UserId"]

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
