"""Why an item is in a list, in words that a person is shown. Knows titles; no model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from gloss.rankings.ranking import RankedItem

__all__ = ["Reason", "reason_of", "shared_words"]

Reason = Literal["bought", "written", "searched", "popular"]
"""bought: because of a purchase, whose title is given; written: the language model has written the
title that is given; searched: a text that was typed has found it; popular: it is bought often."""

_WORD = re.compile(r"\w+")


def reason_of(
    entry: RankedItem,
    title: str,
    *,
    because: str | None,
    titles: Sequence[str],
    is_popular: bool,
    wish: str | None = None,
) -> tuple[Reason, str | None, tuple[str, ...]]:
    """The reason of an entry, the text that led to it, and the words that both share.

    title: the item's; because: of the purchase that a ranker names; titles: of all purchases; wish:
    as it was searched for. A written title that is the item's own says nothing: then the purchase
    with the most words in common is named, if there is one.
    """
    if is_popular:
        return "popular", None, ()
    if because is not None:
        return "bought", because, shared_words(title, because)
    if entry.query is None:
        return "popular", None, ()
    if entry.query in titles or entry.query == wish:
        return "searched", entry.query, shared_words(title, entry.query)
    if entry.query != title:
        return "written", entry.query, shared_words(title, entry.query)
    nearest = max(titles, key=lambda each: len(shared_words(title, each)), default="")
    words = shared_words(title, nearest)
    return ("bought", nearest, words) if words else ("written", title, ())


def shared_words(title: str, other: str) -> tuple[str, ...]:
    """The words of a title that stand in the other text too, in its order, each once.

    >>> shared_words("Red Kite, Large", "Kite for Children (red)")
    ('Red', 'Kite')
    """
    others = {word.lower() for word in _WORD.findall(other)}
    found = {word.lower(): word for word in _WORD.findall(title) if word.lower() in others}
    return tuple(found.values())
