"""What every route works with, and how a question is asked on a client's behalf."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, params
from starlette.requests import Request

from gloss.serving.crowd import Crowd
from gloss.serving.experiments import Experiments
from gloss.serving.live import LiveRecommender
from gloss.serving.metrics import Metrics
from gloss.serving.model_thread import ModelThread
from gloss.serving.problems import STARTS_AGAIN_SECONDS, TOO_MANY, ProblemError
from gloss.serving.security import Key, Keys, Scope
from gloss.serving.settings import ServingSettings
from gloss.serving.state.events import EventLog
from gloss.serving.state.exposures import ExposureLog
from gloss.serving.waiting import Answer, DeadlineError, FullError, Job, Question, StoppedError

__all__ = ["Service", "ServiceOf", "ask", "ask_titles", "needs"]


@dataclass(frozen=True, slots=True)
class Service:
    """One running service."""

    settings: ServingSettings
    keys: Keys
    model: ModelThread
    crowd: Crowd
    live: LiveRecommender
    events: EventLog
    exposures: ExposureLog
    experiments: Experiments
    metrics: Metrics


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceOf = Annotated[Service, Depends(_service)]
"""The service, as a parameter of a route."""


def needs(scope: Scope) -> params.Depends:
    """The dependency of a route that a key must have this scope for."""

    def check(request: Request, service: ServiceOf) -> None:
        key: Key | None = request.scope["state"].get("key")
        if service.keys and (key is None or scope not in key.scopes):
            raise ProblemError(403, f"this key does not have the scope {scope!r}")

    return params.Depends(check)


async def ask(service: Service, request: Request, question: Question, seconds: float) -> Answer:
    """The answer to a question. Raises ProblemError when there is none in time.

    Who comes when too many wait, or when waiting would take too long, is told so at once. When the
    client goes away its question is dropped.
    """
    answer = asyncio.wrap_future(_waiting(service, question, seconds).future)
    gone = asyncio.ensure_future(_gone(request))
    try:
        both: set[asyncio.Future[Any]] = {answer, gone}
        await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return _in_time(answer, service)
    finally:
        gone.cancel()
        answer.cancel()


async def ask_titles(
    service: Service, request: Request, question: Question, seconds: float
) -> AsyncIterator[str | Answer]:
    """Titles as the model writes them, then the answer; everything else is as for `ask`."""
    until = time.monotonic() + seconds
    loop = asyncio.get_running_loop()
    titles: asyncio.Queue[str | None] = asyncio.Queue()  # None: there are no more

    def on_title(title: str) -> None:
        if title:
            loop.call_soon_threadsafe(titles.put_nowait, title)

    answer = asyncio.wrap_future(_waiting(service, question, seconds, on_title).future)
    gone = asyncio.ensure_future(_gone(request))
    for ended in (answer, gone):
        ended.add_done_callback(lambda _: titles.put_nowait(None))
    try:
        while title := await _before(until, titles):
            yield title
        yield _in_time(answer, service)
    finally:
        gone.cancel()
        answer.cancel()


async def _before(until: float, titles: asyncio.Queue[str | None]) -> str | None:
    """The next title; None when there is none any more, or it is too late."""
    try:
        return await asyncio.wait_for(titles.get(), max(0.0, until - time.monotonic()))
    except TimeoutError:
        return None


def _waiting(
    service: Service,
    question: Question,
    seconds: float,
    on_title: Callable[[str], None] | None = None,
) -> Job:
    """A question that waits for the model. Raises ProblemError where it may not."""
    if service.model.expected_wait > seconds:
        raise _too_many(service)
    try:
        return service.model.ask(question, time.monotonic() + seconds, on_title)
    except FullError:
        raise _too_many(service) from None
    except StoppedError as error:
        raise ProblemError(503, str(error), retry_after=STARTS_AGAIN_SECONDS) from None


def _in_time(answer: asyncio.Future[Answer], service: Service) -> Answer:
    try:
        if answer.done():
            return answer.result()
        raise DeadlineError
    except DeadlineError:
        wait = service.model.expected_wait
        raise ProblemError(503, "no answer within the deadline", retry_after=wait) from None
    except StoppedError as error:
        raise ProblemError(503, str(error), retry_after=STARTS_AGAIN_SECONDS) from None


def _too_many(service: Service) -> ProblemError:
    waiting = service.model.expected_wait
    return ProblemError(429, TOO_MANY, retry_after=waiting)


async def _gone(request: Request) -> None:
    """Returns when the client has closed its connection; the body has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
