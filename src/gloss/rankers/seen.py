"""What a user has already: what a list leaves out, where the protocol says so."""

from __future__ import annotations

from gloss.data.catalogue import ItemId
from gloss.data.histories import Question

__all__ = ["seen_items"]


def seen_items(question: Question, *, exclude_seen: bool) -> frozenset[ItemId]:
    """The items of the history, or none."""
    return frozenset(question.history) if exclude_seen else frozenset()
