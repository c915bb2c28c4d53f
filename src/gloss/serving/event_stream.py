"""Server-sent events: the titles of a list as the model writes them, then the list.

Three events, each with a JSON document: `title`, any number of times; then `list`, or `problem`
(RFC 9457) where there is no list. What is refused before the first title is known is answered as
to any other request, with its status.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import StreamingResponse

from gloss.serving.problems import problem_of
from gloss.serving.waiting import Answer

__all__ = ["MEDIA_TYPE", "event_stream", "wants_events"]

BodyOf = Callable[[Answer], Awaitable[BaseModel]]

MEDIA_TYPE = "text/event-stream"

_HEADERS = {"X-Accel-Buffering": "no"}
"""nginx would keep events back until there are many."""


class WrittenTitle(BaseModel):
    """A title that the language model has written; it may find no place in the list."""

    title: str


def wants_events(request: Request) -> bool:
    """Whether a request asks for events: `Accept: text/event-stream`."""
    ranges = request.headers.get("accept", "").split(",")
    return any(each.partition(";")[0].strip().lower() == MEDIA_TYPE for each in ranges)


async def event_stream(
    events: AsyncIterator[str | Answer], body_of: BodyOf, request_id: str
) -> StreamingResponse:
    """The response, once there is something to send. Raises what `events` raises before that."""
    first = await anext(events)
    lines = _lines(_with_first(first, events), body_of, request_id)
    return StreamingResponse(lines, media_type=MEDIA_TYPE, headers=_HEADERS)


async def _with_first(
    first: str | Answer, events: AsyncIterator[str | Answer]
) -> AsyncIterator[str | Answer]:
    yield first
    async for event in events:
        yield event


async def _lines(
    events: AsyncIterator[str | Answer], body_of: BodyOf, request_id: str
) -> AsyncIterator[str]:
    try:
        async for event in events:
            if isinstance(event, str):
                yield _event("title", WrittenTitle(title=event))
            else:
                yield _event("list", await body_of(event))
    except Exception as error:  # the status was sent long ago
        yield _event("problem", problem_of(error, request_id))


def _event(name: str, body: BaseModel) -> str:
    """JSON holds no line break, so that one line holds the document."""
    return f"event: {name}\ndata: {body.model_dump_json()}\n\n"
