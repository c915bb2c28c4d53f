"""How long a batch takes, learned from the batches before it. Knows no requests."""

from __future__ import annotations

__all__ = ["BatchTime"]

_MEMORY = 0.9
"""What a batch weighs against the one after it: about the last ten count."""
_PRIOR_WEIGHT = 4.0  # batches of one request more or less
_PRIOR_SHARE = 0.5


class BatchTime:
    """`seconds = fixed + each * requests`, by least squares over the last batches.

    Twice as many together take less than twice as long: a mean time of a request, learned from
    small batches, would have large ones refused that can be answered, and stay wrong for want of
    them. Where batches were all of one size, half of their time is taken for fixed.

    >>> time = BatchTime()
    >>> for requests in (1, 2, 4, 8) * 5:
    ...     time.learn(requests, seconds=0.1 + 0.02 * requests)
    >>> round(time.of(32), 2)
    0.74
    """

    def __init__(self) -> None:
        self._weight = self._requests = self._seconds = 0.0
        self._squares = self._products = 0.0

    def learn(self, requests: int, seconds: float) -> None:
        """A batch of so many requests took so long."""
        self._weight = _MEMORY * self._weight + 1
        self._requests = _MEMORY * self._requests + requests
        self._seconds = _MEMORY * self._seconds + seconds
        self._squares = _MEMORY * self._squares + requests**2
        self._products = _MEMORY * self._products + requests * seconds

    def of(self, requests: int) -> float:
        """Seconds that a batch of so many takes, about; 0 before anything is known, or of none."""
        if not self._weight or not requests:
            return 0.0
        size, seconds = self._requests / self._weight, self._seconds / self._weight
        spread = self._squares - self._weight * size**2
        together = self._products - self._weight * size * seconds
        prior = _PRIOR_SHARE * seconds / size
        each = (together + _PRIOR_WEIGHT * prior) / (spread + _PRIOR_WEIGHT)
        each = min(max(each, 0.0), seconds / size)
        return seconds + each * (requests - size)
