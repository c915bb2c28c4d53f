"""Groups of users by how much they bought, as GLoSS reports them (arXiv 2506.01910)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gloss.data.histories import Example
from gloss.errors import ConfigError

__all__ = ["SegmentBounds", "default_bounds", "segments_of"]

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


def segments_of(examples: Sequence[Example], bounds: SegmentBounds) -> dict[str, Mask]:
    """Who is cold, regular and power: a mask over the examples for each, every user in one.

    >>> from gloss.data.histories import Example
    >>> segments_of([Example("u", ("a", "b"), "c")], SegmentBounds())["cold"].tolist()
    [True]
    """
    purchases = np.array([len(example.history) + 1 for example in examples], dtype=np.int64)
    return {
        "cold": purchases <= bounds.cold,
        "regular": (purchases > bounds.cold) & (purchases <= bounds.regular),
        "power": purchases > bounds.regular,
    }
