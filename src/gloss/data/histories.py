"""What people bought, in order. Knows ids only; knows no titles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType, Protocol

from gloss.data.catalogue import ItemId

__all__ = ["Example", "History", "Question", "UserId"]

UserId = NewType("UserId", str)


class Question(Protocol):
    """What will this user buy next? Examples, prompts and generations all ask it."""

    @property
    def user(self) -> UserId:
        """Who asks."""
        ...

    @property
    def history(self) -> tuple[ItemId, ...]:
        """What was bought before, earliest first."""
        ...


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
