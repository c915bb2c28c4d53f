"""The thread that owns the model. What waits together is decoded together.

A second thread looks after the first: if the model's thread or process dies, those whose request it
had in hand are told to try again, and the model is opened anew, after 1, 2, 4 … 30 seconds if that
fails.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from threading import Event, Thread

from gloss.errors import GlossError
from gloss.serving.arms import arm_of
from gloss.serving.batch_time import BatchTime
from gloss.serving.served import Served
from gloss.serving.settings import ServingSettings
from gloss.serving.waiting import Answer, Job, Question, StoppedError, WaitingRoom

__all__ = ["ModelThread"]

_log = logging.getLogger(__name__)

_MAX_PAUSE_SECONDS = 30.0

Decoded = Callable[[int, float], None]
"""Told of every batch: how many histories, and seconds."""


class ModelThread:
    """Answers questions with one recommender at a time.

    open_served: how a recommender is opened, at the start and after a death. last_decoded: when a
    batch was answered last, in `time.monotonic()` seconds.
    """

    def __init__(
        self,
        open_served: Callable[[], Served],
        settings: ServingSettings,
        on_decoded: Decoded = lambda _count, _seconds: None,
    ) -> None:
        self._open = open_served
        self._max_batch = settings.max_batch
        self._room = WaitingRoom(settings.max_waiting)
        self._on_decoded = on_decoded
        self._served: Served | None = None
        self._in_hand: list[Job] = []
        self._closing = Event()
        self._batch_time = BatchTime()
        self.last_decoded = float("-inf")
        self._keeper = Thread(target=self._keep, name="gloss-keeper", daemon=True)
        self.worker: Thread | None = None

    def start(self) -> None:
        """Open the recommender and begin to answer. Raises what opening it raises."""
        self._served = self._open()
        self._keeper.start()

    def close(self) -> None:
        """Answer those who wait, and end."""
        self._closing.set()
        self._room.close()
        if self._keeper.ident is not None:
            self._keeper.join()

    @property
    def served(self) -> Served:
        """The recommender that answers now. Raises StoppedError while there is none."""
        served = self._served
        if served is None:
            raise StoppedError("the model starts again")
        return served

    @property
    def is_ready(self) -> bool:
        return self._served is not None

    @property
    def waiting(self) -> int:
        return len(self._room)

    @property
    def is_full(self) -> bool:
        """Whether so many wait already that another one would be refused."""
        return self._room.is_full()

    @property
    def expected_wait(self) -> float:
        """Seconds after which a request that came now would be answered, about.

        0 where nobody is before it: whatever the last batch took, somebody must find out what the
        next one takes.
        """
        waiting, in_hand = len(self._room), len(self._in_hand)
        if not waiting and not in_hand:
            return 0.0
        full, rest = divmod(waiting + 1, self._max_batch)
        batches = [in_hand, rest, *[self._max_batch] * full]
        return sum(map(self._batch_time.of, batches))

    def swap(self, served: Served) -> None:
        """Answer with another recommender, from the next batch on."""
        self._served = served

    def ask(
        self,
        question: Question,
        deadline: float,
        on_title: Callable[[str], None] | None = None,
    ) -> Job:
        """Let a question wait; see `Job`. Raises FullError, StoppedError."""
        self.served  # noqa: B018 - refuse at once while there is no model
        job = Job(question, deadline, on_title)
        self._room.add(job)
        return job

    def _keep(self) -> None:
        """Start the worker, and start it again until the service ends."""
        pause = 1.0
        while True:
            began = time.monotonic()
            self.worker = Thread(target=self._work, name="gloss-model", daemon=True)
            self.worker.start()
            self.worker.join()
            if self._closing.is_set() and not self._in_hand and not len(self._room):
                return
            self._after_death()
            pause = 1.0 if time.monotonic() - began > 60 else min(2 * pause, _MAX_PAUSE_SECONDS)
            if self._closing.wait(pause / 2):
                self._refuse(self._room.take(len(self._room)))
                return

    def _after_death(self) -> None:
        _log.error("the model has stopped; it is started again")
        self._served = None
        self._refuse(self._in_hand)
        self._in_hand = []

    def _refuse(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(StoppedError("the model has stopped"))

    def _work(self) -> None:
        try:
            if self._served is None:
                self._served = self._open()
        except (GlossError, OSError, StoppedError) as error:
            _log.error("the recommender cannot be opened: %s", error)
            return
        with suppress(StoppedError):  # its process has ended
            while jobs := self._room.take(self._max_batch, self._batch_time.of):
                self._in_hand = jobs
                self._answer_all(jobs, self.served)
                self._in_hand = []

    def _answer_all(self, jobs: Sequence[Job], served: Served) -> None:
        """Answer a batch; what is asked with the same rules, length and wish is made together."""
        began = time.monotonic()
        for group in _by_kind(jobs):
            _answer(group, served)
        seconds = time.monotonic() - began
        self.last_decoded = began + seconds
        self._batch_time.learn(len(jobs), seconds)
        self._on_decoded(len(jobs), seconds)


def _by_kind(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs in groups of one kind. Rules hold mappings: they compare, and have no hash."""
    groups: list[list[Job]] = []
    for job in jobs:
        for group in groups:
            if group[0].question.kind == job.question.kind:
                group.append(job)
                break
        else:
            groups.append([job])
    return groups


def _answer(jobs: Sequence[Job], served: Served) -> None:
    """Answer jobs of one kind together. If that fails, each alone: one must not fail the others."""
    (k, rules, wish, arm), histories = jobs[0].question.kind, [job.question.history for job in jobs]
    served = arm_of(served, arm)
    try:
        lists = served.recommend(histories, k, rules=rules, wish=wish, on_title=_teller(jobs))
    except StoppedError:
        raise
    except Exception as error:
        if len(jobs) == 1:
            jobs[0].future.set_exception(error)
        else:
            for job in jobs:
                _answer([job], served)
        return
    for job, made in zip(jobs, lists, strict=True):
        job.future.set_result(Answer(made, served.fingerprint))


def _teller(jobs: Sequence[Job]) -> Callable[[int, str], None] | None:
    """What tells each job of its titles; None where none of them wants to know."""
    if all(job.on_title is None for job in jobs):
        return None

    def tell(number: int, title: str) -> None:
        on_title = jobs[number].on_title
        if on_title is not None:
            on_title(title)

    return tell
