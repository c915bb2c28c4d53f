"""How long to wait before an HTTP server is asked again. Knows answers as httpx gives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Pauses"]


@dataclass(frozen=True, slots=True)
class Pauses:
    """Pauses that double, in seconds: the first one, and the longest."""

    first: float
    longest: float

    def after_tries(self, retries: int) -> Iterator[float | None]:
        """Seconds after each try, if it fails; None for the last.

        >>> list(Pauses(0.5, 1.5).after_tries(3))
        [0.5, 1.0, 1.5, None]
        """
        for number in range(retries):
            yield min(self.first * 2**number, self.longest)
        yield None

    def asked_by(self, answer: Any, pause: float) -> float:
        """What the server asks for ("Retry-After"), within reason; `pause` if it does not."""
        asked = answer.headers.get("retry-after", "")
        return min(float(asked), self.longest) if asked.isdecimal() else pause
