"""Both forms of the client. What is refused for now, or could not be sent, is tried again."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from gloss.errors import GlossError, require_extra
from gloss.recommender.recommender import Recommendations
from gloss.retries import Pauses
from gloss.serving.client import calls
from gloss.serving.client.calls import Call

__all__ = ["AsyncClient", "Client", "ServiceError"]

P = ParamSpec("P")
T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Any])

_FOR_NOW = (429, 503)
_PAUSES = Pauses(first=0.2, longest=10.0)
_EVENTS = {"Accept": "text/event-stream"}

Streamed = str | Recommendations
"""A title that the language model has written, or at last the list."""


class ServiceError(GlossError):
    """A service refused a request, or did not answer. status: of HTTP; None without an answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def _sent(call: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], T]:
    """The method that makes a call; its parameters and description are the call's own."""

    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._send(call(*args, **kwargs))

    return _described(method, call)


def _awaited(call: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncClient, P], Awaitable[T]]:
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._send(call(*args, **kwargs))

    return _described(method, call)


def _streamed(
    call: Callable[P, Call[Recommendations]],
) -> Callable[Concatenate[Client, P], Iterator[Streamed]]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Streamed]:
        return self._stream(call(*args, **kwargs))

    return _described(method, call)


def _async_streamed(
    call: Callable[P, Call[Recommendations]],
) -> Callable[Concatenate[AsyncClient, P], AsyncIterator[Streamed]]:
    def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Streamed]:
        return self._stream(call(*args, **kwargs))

    return _described(method, call)


def _described(method: Method, call: Callable[..., Any]) -> Method:
    """The method with the name, the description and the parameters of a call, after its own."""
    method.__name__, method.__doc__ = call.__name__, call.__doc__
    own, *_ = inspect.signature(method).parameters.values()
    of_call = inspect.signature(call)
    parameters = [own, *of_call.parameters.values()]
    method.__dict__["__signature__"] = of_call.replace(parameters=parameters)
    return method


class Client:
    """A service at an address. key: what `gloss key` made.

    retries: how often a request is sent again that was refused for now (429, 503) or met no
    service; every call may be sent twice, since events have ids. Raises ServiceError.

    `stream` takes what `recommend` takes, and gives the titles that the language model writes, as
    texts, and at last the list.
    """

    recommend = _sent(calls.recommend)
    stream = _streamed(calls.recommend)
    similar = _sent(calls.similar)
    ground = _sent(calls.ground)
    search = _sent(calls.search)
    item = _sent(calls.item)
    add_events = _sent(calls.add_events)
    purchases = _sent(calls.purchases)
    forget = _sent(calls.forget)
    change_items = _sent(calls.change_items)
    reload = _sent(calls.reload)

    def __init__(
        self, url: str, *, key: str | None = None, timeout: float = 30.0, retries: int = 3
    ) -> None:
        httpx = _httpx()
        self._http = httpx.Client(base_url=url, timeout=timeout, headers=_headers(key))
        self._retries = retries

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def _send(self, call: Call[T]) -> T:
        return _read(call, self._answered(call))

    def _stream(self, call: Call[Recommendations]) -> Iterator[Streamed]:
        answer, events = self._answered(call, in_events=True), _Events(call)
        try:
            if not answer.is_success:
                answer.read()
                raise _refusal(answer)
            for line in answer.iter_lines():
                if (event := events.read(line)) is not None:
                    yield event
        except _httpx().TransportError as error:
            raise _no_answer(error) from None
        finally:
            answer.close()
        events.require_end()

    def _answered(self, call: Call[T], *, in_events: bool = False) -> Any:
        """The answer after as many tries as it takes; its body is not read where it is events."""
        for pause in _PAUSES.after_tries(self._retries):
            try:
                answer = self._http.send(_request(self._http, call, in_events), stream=in_events)
            except _httpx().TransportError as error:
                if pause is None:
                    raise _no_answer(error) from None
                time.sleep(pause)
                continue
            if pause is None or answer.status_code not in _FOR_NOW:
                return answer
            answer.close()
            time.sleep(_PAUSES.asked_by(answer, pause))
        raise AssertionError("the last try has no pause")


class AsyncClient:
    """The same for `asyncio`; see `Client`."""

    recommend = _awaited(calls.recommend)
    stream = _async_streamed(calls.recommend)
    similar = _awaited(calls.similar)
    ground = _awaited(calls.ground)
    search = _awaited(calls.search)
    item = _awaited(calls.item)
    add_events = _awaited(calls.add_events)
    purchases = _awaited(calls.purchases)
    forget = _awaited(calls.forget)
    change_items = _awaited(calls.change_items)
    reload = _awaited(calls.reload)

    def __init__(
        self, url: str, *, key: str | None = None, timeout: float = 30.0, retries: int = 3
    ) -> None:
        httpx = _httpx()
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout, headers=_headers(key))
        self._retries = retries

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:  # fmt: skip
        await self.close()

    async def close(self) -> None:
        """See `Client.close`."""
        await self._http.aclose()

    async def _send(self, call: Call[T]) -> T:
        return _read(call, await self._answered(call))

    async def _stream(self, call: Call[Recommendations]) -> AsyncIterator[Streamed]:
        answer, events = await self._answered(call, in_events=True), _Events(call)
        try:
            if not answer.is_success:
                await answer.aread()
                raise _refusal(answer)
            async for line in answer.aiter_lines():
                if (event := events.read(line)) is not None:
                    yield event
        except _httpx().TransportError as error:
            raise _no_answer(error) from None
        finally:
            await answer.aclose()
        events.require_end()

    async def _answered(self, call: Call[T], *, in_events: bool = False) -> Any:
        for pause in _PAUSES.after_tries(self._retries):
            try:
                request = _request(self._http, call, in_events)
                answer = await self._http.send(request, stream=in_events)
            except _httpx().TransportError as error:
                if pause is None:
                    raise _no_answer(error) from None
                await asyncio.sleep(pause)
                continue
            if pause is None or answer.status_code not in _FOR_NOW:
                return answer
            await answer.aclose()
            await asyncio.sleep(_PAUSES.asked_by(answer, pause))
        raise AssertionError("the last try has no pause")


class _Events:
    """Reads the lines of a stream: titles, then the list."""

    def __init__(self, call: Call[Recommendations]) -> None:
        self._call, self._name, self._ended = call, "", False

    def read(self, line: str) -> Streamed | None:
        """The event that a line completes, if it does. Raises ServiceError for a refusal."""
        field, _, value = line.partition(": ")
        if field == "event":
            self._name = value
        if field != "data":
            return None
        document = json.loads(value)
        if self._name == "problem":
            raise ServiceError(document["detail"], document["status"])
        if self._name == "title":
            return str(document["title"])
        self._ended = True
        return self._call.read(document)

    def require_end(self) -> None:
        """Raise ServiceError where the stream ended before the list came."""
        if not self._ended:
            raise ServiceError("the service ended the stream before the list")


def _httpx() -> Any:
    require_extra("a client of a service", "client", "httpx")
    import httpx

    return httpx


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def _request(http: Any, call: Call[Any], in_events: bool) -> Any:
    headers = _EVENTS if in_events else None
    return http.build_request(call.method, call.path, json=call.body, headers=headers)


def _no_answer(error: Exception) -> ServiceError:
    return ServiceError(f"the service does not answer: {error}")


def _read(call: Call[T], answer: Any) -> T:
    if not answer.is_success:
        raise _refusal(answer)
    return call.read(answer.json())


def _refusal(answer: Any) -> ServiceError:
    return ServiceError(_detail(answer), answer.status_code)


def _detail(answer: Any) -> str:
    """What a refusal says; of another server's, its status."""
    if answer.headers.get("content-type", "") != "application/problem+json":
        return f"no answer of a gloss service: HTTP {answer.status_code}"
    problem = answer.json()
    faults = [f"{fault['pointer']}: {fault['detail']}" for fault in problem.get("errors", ())]
    return "; ".join([problem["detail"], *faults])
