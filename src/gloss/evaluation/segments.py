"""Groups of users by how much they bought, as GLoSS reports them (arXiv 2506.01910), and finer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gloss.arrays import Ints
from gloss.errors import ConfigError

__all__ = ["SegmentBounds", "default_bounds", "history_lengths_of", "segments_of"]

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class SegmentBounds:
    """The most purchases, the test item included, of a cold and of a regular user."""

    cold: int = 5
    regular: int = 14

    def __post_init__(self) -> None:
        if self.cold >= self.regular:
            raise ConfigError(
                f"segment bounds: cold ({self.cold}) must be below regular ({self.regular})"
            )


_REGULAR = {"beauty": 14, "toys": 13, "sports": 13}
"""From the research repository."""


def default_bounds(dataset: str) -> SegmentBounds:
    """The published bounds of a data set, by its name; those of Beauty for any other."""
    return SegmentBounds(regular=_REGULAR.get(dataset.lower(), 14))


def segments_of(lengths: Ints, bounds: SegmentBounds) -> dict[str, Mask]:
    """Cold, regular and power users: for each a mask, bool (users,); every user is in one.

    lengths: int64 (users,), of the histories, without the target.

    >>> segments_of(np.array([2, 20]), SegmentBounds())["cold"].tolist()
    [True, False]
    """
    purchases = lengths + 1
    return {
        "cold": purchases <= bounds.cold,
        "regular": (purchases > bounds.cold) & (purchases <= bounds.regular),
        "power": purchases > bounds.regular,
    }


_LENGTH_CUTS = (2, 3, 4, 5, 7, 10, 15, 25, 50)
"""The longest history of each range of lengths: narrow ranges where most users are."""

_MIN_SHARE = 0.01
"""Of the users, in a range of lengths: the mean of fewer is not worth showing; they join the next
range."""


def history_lengths_of(lengths: Ints) -> dict[str, Mask]:
    """Users by the length of their history, int64 (users,), the target not included: for each range
    of lengths, by its name ("≤4", "5", "8–10", "26+"), a mask, bool (users,).

    >>> list(history_lengths_of(np.array([9, 3])))
    ['≤3', '4+']
    """
    if not len(lengths):
        return {}
    cuts = _cuts(lengths)
    groups = np.searchsorted(cuts, lengths)
    return {_range(cuts, group): groups == group for group in np.unique(groups).tolist()}


def _cuts(lengths: Ints) -> list[int]:
    """The longest history of each range but the last, which has no end."""
    least = _MIN_SHARE * len(lengths)
    cuts: list[int] = []
    for cut in _LENGTH_CUTS:
        beyond = lengths > (cuts[-1] if cuts else -1)
        if (beyond & (lengths <= cut)).sum() > least:
            cuts.append(cut)
    while cuts and (lengths > cuts[-1]).sum() <= least:
        cuts.pop()
    return cuts


def _range(cuts: Sequence[int], group: int) -> str:
    if not group:
        return f"≤{cuts[0]}" if cuts else "all"
    first = cuts[group - 1] + 1
    if group == len(cuts):
        return f"{first}+"
    return str(first) if first == cuts[group] else f"{first}–{cuts[group]}"
