"""Requests that wait for the model: a bounded queue with deadlines. Knows no model."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition

from gloss.recommender.recommender import Recommendations
from gloss.recommender.rules import NO_RULES, Rules

__all__ = ["Answer", "DeadlineError", "FullError", "Job", "Question", "StoppedError", "WaitingRoom"]


class FullError(Exception):
    """Too many wait already."""


class StoppedError(Exception):
    """The model does not answer now: it starts, or the service ends."""


class DeadlineError(Exception):
    """The time that a request was given is over."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the model. arm: which of the recommenders that are served is asked."""

    history: tuple[str, ...]
    k: int
    rules: Rules = NO_RULES
    wish: str | None = None
    arm: int = 0

    @property
    def kind(self) -> tuple[int, Rules, str | None, int]:
        """Questions of one kind are answered together."""
        return self.k, self.rules, self.wish, self.arm


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, and the fingerprint of the recommender that did."""

    list: Recommendations
    model: str


@dataclass(frozen=True, slots=True)
class Job:
    """A question that waits. deadline: in `time.monotonic()` seconds. on_title: called with each
    title as the model has written it, in the model's thread."""

    question: Question
    deadline: float
    on_title: Callable[[str], None] | None = None
    future: Future[Answer] = field(default_factory=Future)


class WaitingRoom:
    """First come, first served; whoever has gone or is late is not served at all."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._jobs: deque[Job] = deque()
        self._changed = Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> None:
        """Let a job wait. Raises FullError or, after `close`, StoppedError."""
        with self._changed:
            if self._closed:
                raise StoppedError("the service ends")
            if self._is_full():
                raise FullError
            self._jobs.append(job)
            self._changed.notify()

    def is_full(self) -> bool:
        """Whether another job would be refused."""
        with self._changed:
            return self._is_full()

    def take(
        self, most: int, batch_seconds: Callable[[int], float] = lambda _jobs: 0.0
    ) -> list[Job]:
        """The next jobs, as soon as there is one; none when the room is closed and empty.

        batch_seconds: what so many of them take together, about. Whose deadline would pass before
        all that are taken are answered is not taken: its answer would be of no use, and cost the
        others time.
        """
        while True:
            with self._changed:
                while not self._jobs and not self._closed:
                    self._changed.wait()
                if not self._jobs:
                    return []
                taken = [self._jobs.popleft() for _ in range(min(most, len(self._jobs)))]
            if wanted := [job for job in taken if _still_wanted(job)]:
                return _in_time(wanted, batch_seconds)

    def close(self) -> None:
        """Let nobody in any more; those who wait are still served."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_full(self) -> bool:
        """Clients that went away do not keep others out."""
        if len(self._jobs) >= self._max_waiting:
            self._jobs = deque(job for job in self._jobs if not job.future.cancelled())
        return len(self._jobs) >= self._max_waiting


def _in_time(jobs: list[Job], batch_seconds: Callable[[int], float]) -> list[Job]:
    """Those that can be answered before their deadline, together; one at least, so that a time that
    was measured once cannot keep everybody out for ever.

    Jobs leave by the nearest deadline until the rest is in time: with a second each, of the
    deadlines 9, 1, 3 and 2 seconds from now the first and the third stay.
    """
    kept = sorted(jobs, key=lambda job: job.deadline)
    now = time.monotonic()
    while len(kept) > 1 and kept[0].deadline < now + batch_seconds(len(kept)):
        kept.pop(0).future.set_exception(DeadlineError())
    staying = {id(job) for job in kept}
    return [job for job in jobs if id(job) in staying]


def _still_wanted(job: Job) -> bool:
    if not job.future.set_running_or_notify_cancel():
        return False
    if time.monotonic() > job.deadline:
        job.future.set_exception(DeadlineError())
        return False
    return True
