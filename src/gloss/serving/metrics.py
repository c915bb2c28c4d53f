"""What the service counts: for Prometheus, and the last hour. Counts no person."""

from __future__ import annotations

import math
import time
from collections import Counter as Counts
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gloss.serving.hours import Hour, Hours, shift

__all__ = ["Metrics"]

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
_WINDOW_SECONDS = 3600
_MAX_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class _Served:
    """One answered request for recommendations."""

    at: float
    seconds: float
    way: str
    reasons: tuple[str, ...]
    items: tuple[str, ...]


class Metrics:
    """Counters of one service. clock: seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "gloss_requests", "Requests by route and status.", ["route", "status"],
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "gloss_request_seconds", "How long requests took.", ["route"],
            buckets=_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._batch = Histogram(
            "gloss_batch_histories", "Histories that were decoded together.",
            buckets=_BATCHES, registry=self.registry,
        )  # fmt: skip
        self._decoding = Counter(
            "gloss_decoding_seconds", "Time that the model was at work.", registry=self.registry
        )
        self.waiting = Gauge(
            "gloss_waiting", "Requests that wait for the model.", registry=self.registry
        )
        self.ready = Gauge(
            "gloss_ready", "1 while the model answers, else 0.", registry=self.registry
        )
        self._recent: deque[_Served] = deque(maxlen=_MAX_REMEMBERED)
        self._hours = Hours()
        self._lock = Lock()

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request that has been answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def decoded(self, histories: int, seconds: float) -> None:
        """Count a batch."""
        self._batch.observe(histories)
        self._decoding.inc(seconds)

    def recommended(
        self, seconds: float, way: str, reasons: Iterable[str], items: Iterable[str]
    ) -> None:
        """Remember a list for the last hour, and count it for tomorrow."""
        served = _Served(self.clock(), seconds, way, tuple(reasons), tuple(items))
        with self._lock:
            self._recent.append(served)
            self._hours.add(served.at, way, served.reasons)

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self.registry)

    def last_hour(self, catalogue_size: int) -> dict[str, Any]:
        """What was recommended in the last hour: requests a minute, times, ways, coverage; and in
        the same hour yesterday, with how far the shares of ways and reasons have moved since."""
        now = self.clock()
        with self._lock:
            yesterday = self._hours.yesterday(now)
            recent = [each for each in self._recent if now - each.at < _WINDOW_SECONDS]
        seconds = sorted(each.seconds for each in recent)
        distinct = {item for each in recent for item in each.items}
        ways = Counts(each.way for each in recent)
        reasons = Counts(reason for each in recent for reason in each.reasons)
        return {
            "requests": len(recent),
            "per_minute": _per_minute(recent, now),
            "p50_seconds": _quantile(seconds, 0.5),
            "p99_seconds": _quantile(seconds, 0.99),
            "ways": dict(ways),
            "reasons": dict(reasons),
            "coverage": len(distinct) / max(1, catalogue_size),
            "yesterday": yesterday and _yesterday(yesterday, ways, reasons),
        }


def _yesterday(hour: Hour, ways: Counts[str], reasons: Counts[str]) -> dict[str, Any]:
    return {
        "requests": hour.lists,
        "ways": dict(hour.ways),
        "reasons": dict(hour.reasons),
        "ways_shift": shift(ways, hour.ways),
        "reasons_shift": shift(reasons, hour.reasons),
    }


def _per_minute(recent: Sequence[_Served], now: float) -> list[int]:
    """Requests in each of the last 60 minutes, the present one last."""
    minutes = Counts(int((now - each.at) // 60) for each in recent)
    return [minutes[ago] for ago in range(59, -1, -1)]


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of the values does not exceed.

    >>> _quantile([1.0, 2.0, 3.0, 4.0], 0.5), _quantile([], 0.5)
    (2.0, None)
    """
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
