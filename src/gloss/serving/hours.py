"""What was recommended hour by hour, for a day: how today differs from yesterday. Knows nobody."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["Hour", "Hours", "shift"]

_HOUR_SECONDS = 3600
_KEPT = 25  # this hour, and those until the same one yesterday


@dataclass(slots=True)
class Hour:
    """The lists of one hour. number: hours since 1970."""

    number: int
    lists: int = 0
    ways: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


class Hours:
    """The last day; hours without a list are not kept."""

    def __init__(self) -> None:
        self._hours: deque[Hour] = deque(maxlen=_KEPT)

    def add(self, at: float, way: str, reasons: Iterable[str]) -> None:
        """Count a list that was made at this time, in seconds since 1970."""
        number = int(at // _HOUR_SECONDS)
        if not self._hours or self._hours[-1].number != number:
            self._hours.append(Hour(number))
        hour = self._hours[-1]
        hour.lists += 1
        hour.ways[way] += 1
        hour.reasons.update(reasons)

    def yesterday(self, at: float) -> Hour | None:
        """The same hour, yesterday; None if nothing was recommended then, or since it started."""
        number = int(at // _HOUR_SECONDS) - 24
        return next((hour for hour in self._hours if hour.number == number), None)


def shift(now: Mapping[str, int], before: Mapping[str, int]) -> float | None:
    """How far shares have moved: ½ Σ |p - q|, 0 for the same and 1 for nothing in common.

    None where one of the two has counted nothing.

    >>> shift({"bought": 1, "popular": 1}, {"bought": 3, "popular": 1})
    0.25
    """
    sums = sum(now.values()), sum(before.values())
    if not all(sums):
        return None
    names = {*now, *before}
    return sum(abs(now.get(n, 0) / sums[0] - before.get(n, 0) / sums[1]) for n in names) / 2
