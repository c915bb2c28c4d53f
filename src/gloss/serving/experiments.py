"""What a service does when it serves two recommenders: who is given which, and what is logged."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from gloss.serving.arms import Experiment
from gloss.serving.model_thread import ModelThread
from gloss.serving.problems import ProblemError
from gloss.serving.settings import ServingSettings
from gloss.serving.state.exposures import Exposure, ExposureLog
from gloss.serving.waiting import Answer, FullError, Question, StoppedError

__all__ = ["Assignment", "Experiments"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which recommender answers a request. user: whose part in the experiment it is; None where it
    has none."""

    arm: int
    user: str | None = None


class Experiments:
    """Assigns requests to recommenders, and logs what was shown.

    Whoever names the recommender, or no user, is answered and not logged: nothing follows from it.
    """

    def __init__(self, settings: ServingSettings, model: ModelThread, log: ExposureLog) -> None:
        self._experiment: Experiment | None = settings.experiment
        self._seconds, self._max_waiting = settings.deadline_seconds, settings.max_batch
        self._model, self._exposures = model, log
        self._shadows: set[asyncio.Task[None]] = set()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the recommenders that a request may name; none where there is only one."""
        return self._experiment.names if self._experiment else ()

    def assign(self, user: str | None, model: str | None) -> Assignment:
        """Who answers this user. model: a name in the request. Raises ProblemError."""
        experiment = self._experiment
        if model is not None:
            if model not in self.names:
                known = ", ".join(map(repr, self.names)) or "there is one, which needs no name"
                raise ProblemError(422, f"no recommender has the name {model!r}: {known}")
            return Assignment(self.names.index(model))
        if experiment is None or user is None:
            return Assignment(0)
        return Assignment(experiment.arm(user), user)

    async def answered(
        self, assignment: Assignment, question: Question, answer: Answer, request: str
    ) -> None:
        """Log what is shown; in a shadow experiment ask the other recommender, for the log."""
        experiment, user = self._experiment, assignment.user
        if experiment is None or user is None:
            return
        at = int(time.time() * 1000)

        def exposure(answer: Answer, arm: int) -> Exposure:
            items = tuple(each.item for each in answer.list.items)
            name, is_shown = experiment.names[arm], arm == assignment.arm
            return Exposure(user, name, answer.model, items, request, at, is_shown=is_shown)

        await self._keep(exposure(answer, assignment.arm))
        if experiment.is_shadow:
            task = asyncio.create_task(self._ask_other(question, exposure))
            self._shadows.add(task)
            task.add_done_callback(self._shadows.discard)

    async def drained(self) -> None:
        """Returns when no list is being made for the log any more."""
        await asyncio.gather(*self._shadows)

    async def _ask_other(
        self, question: Question, exposure: Callable[[Answer, int], Exposure]
    ) -> None:
        """Only where few wait: it must not take the place of anybody's request."""
        if self._model.waiting >= self._max_waiting:
            return
        other = replace(question, arm=1)
        try:
            job = self._model.ask(other, time.monotonic() + self._seconds)
            answer = await asyncio.wrap_future(job.future)
        except (FullError, StoppedError):
            return
        except Exception as error:  # nobody waits for it
            _log.warning("the other recommender gave no list: %r", error)
            return
        await self._keep(exposure(answer, 1))

    async def _keep(self, exposure: Exposure) -> None:
        """A list is worth giving although it cannot be logged."""
        try:
            await run_in_threadpool(self._exposures.add, exposure)
        except SQLAlchemyError as error:
            _log.error("a list was not logged: %s", type(error).__name__)
