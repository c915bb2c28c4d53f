"""Both forms of the client. What is refused for now, or could not be sent, is tried again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

from gloss.errors import GlossError, require_extra
from gloss.recommender.recommender import Recommendations
from gloss.recommender.rules import NO_RULES, Rules
from gloss.serving.client import calls
from gloss.serving.client.calls import Call, Found, Purchase, StoredItem

__all__ = ["AsyncClient", "Client", "ServiceError"]

T = TypeVar("T")

_FOR_NOW = (429, 503)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0  # seconds


class ServiceError(GlossError):
    """A service refused a request, or did not answer. status: of HTTP; None without an answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """A service at an address. key: what `gloss key` made.

    retries: how often a request is sent again that was refused for now (429, 503) or met no
    service; every call may be sent twice, since events have ids. Raises ServiceError.
    """

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

    def recommend(
        self,
        history: Sequence[str] = (),
        *,
        user: str | None = None,
        k: int = 10,
        rules: Rules = NO_RULES,
        wish: str | None = None,
    ) -> Recommendations:
        """`k` items for a history of ids or titles, earliest first, and a user's events."""
        return self._send(calls.recommend(history, user, k, rules, wish))

    def similar(self, item: str, *, k: int = 10) -> list[Found]:
        """Items whose titles are like that of an item."""
        return self._send(calls.similar(item, k))

    def ground(self, texts: Sequence[str], *, k: int = 10) -> list[list[Found]]:
        """The items that each text means."""
        return self._send(calls.ground(texts, k))

    def search(self, query: str, *, limit: int = 10) -> list[StoredItem]:
        """Items with words that begin so."""
        return self._send(calls.search(query, limit))

    def item(self, item: str) -> StoredItem:
        """One item."""
        return self._send(calls.item(item))

    def add_events(self, events: Iterable[Purchase]) -> int:
        """Keep purchases; how many were new. They are on disk on return."""
        return self._send(calls.add_events(events))

    def purchases(self, user: str) -> list[Purchase]:
        """Everything that is kept of a person, earliest first."""
        return self._send(calls.purchases(user))

    def forget(self, user: str) -> int:
        """Delete everything that is kept of a person; how many purchases there were."""
        return self._send(calls.forget(user))

    def change_items(
        self,
        *,
        put: Iterable[StoredItem] = (),
        hide: Iterable[str] = (),
        show: Iterable[str] = (),
        remove: Iterable[str] = (),
    ) -> int:
        """Add, change, hide, show and remove items, all or none; how many."""
        return self._send(calls.change_items(put, hide, show, remove))

    def reload(self) -> str:
        """Have the service serve what lies on its disk now; the fingerprint of that."""
        return self._send(calls.reload())

    def _send(self, call: Call[T]) -> T:
        for pause in _pauses(self._retries):
            try:
                answer = self._http.request(call.method, call.path, json=call.body)
            except _httpx().TransportError as error:
                if pause is None:
                    raise _no_answer(error) from None
                time.sleep(pause)
                continue
            if pause is None or answer.status_code not in _FOR_NOW:
                return _read(call, answer)
            time.sleep(_wait(answer, pause))
        raise AssertionError("the last try has no pause")


class AsyncClient:
    """The same for `asyncio`; see `Client`."""

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

    async def recommend(
        self,
        history: Sequence[str] = (),
        *,
        user: str | None = None,
        k: int = 10,
        rules: Rules = NO_RULES,
        wish: str | None = None,
    ) -> Recommendations:
        """See `Client.recommend`."""
        return await self._send(calls.recommend(history, user, k, rules, wish))

    async def similar(self, item: str, *, k: int = 10) -> list[Found]:
        """See `Client.similar`."""
        return await self._send(calls.similar(item, k))

    async def ground(self, texts: Sequence[str], *, k: int = 10) -> list[list[Found]]:
        """See `Client.ground`."""
        return await self._send(calls.ground(texts, k))

    async def search(self, query: str, *, limit: int = 10) -> list[StoredItem]:
        """See `Client.search`."""
        return await self._send(calls.search(query, limit))

    async def item(self, item: str) -> StoredItem:
        """See `Client.item`."""
        return await self._send(calls.item(item))

    async def add_events(self, events: Iterable[Purchase]) -> int:
        """See `Client.add_events`."""
        return await self._send(calls.add_events(events))

    async def purchases(self, user: str) -> list[Purchase]:
        """See `Client.purchases`."""
        return await self._send(calls.purchases(user))

    async def forget(self, user: str) -> int:
        """See `Client.forget`."""
        return await self._send(calls.forget(user))

    async def change_items(
        self,
        *,
        put: Iterable[StoredItem] = (),
        hide: Iterable[str] = (),
        show: Iterable[str] = (),
        remove: Iterable[str] = (),
    ) -> int:
        """See `Client.change_items`."""
        return await self._send(calls.change_items(put, hide, show, remove))

    async def reload(self) -> str:
        """See `Client.reload`."""
        return await self._send(calls.reload())

    async def _send(self, call: Call[T]) -> T:
        for pause in _pauses(self._retries):
            try:
                answer = await self._http.request(call.method, call.path, json=call.body)
            except _httpx().TransportError as error:
                if pause is None:
                    raise _no_answer(error) from None
                await asyncio.sleep(pause)
                continue
            if pause is None or answer.status_code not in _FOR_NOW:
                return _read(call, answer)
            await asyncio.sleep(_wait(answer, pause))
        raise AssertionError("the last try has no pause")


def _httpx() -> Any:
    require_extra("a client of a service", "client", "httpx")
    import httpx

    return httpx


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def _pauses(retries: int) -> Iterator[float | None]:
    """Seconds after each try, if it fails: 0.2, 0.4, 0.8 …; None for the last."""
    for number in range(retries):
        yield min(_FIRST_PAUSE * 2**number, _LONGEST_PAUSE)
    yield None


def _wait(answer: Any, pause: float) -> float:
    """What the service asks for, within reason."""
    asked = answer.headers.get("retry-after", "")
    return min(float(asked), _LONGEST_PAUSE) if asked.isdecimal() else pause


def _no_answer(error: Exception) -> ServiceError:
    return ServiceError(f"the service does not answer: {error}")


def _read(call: Call[T], answer: Any) -> T:
    if not answer.is_success:
        raise ServiceError(_detail(answer), answer.status_code)
    return call.read(answer.json())


def _detail(answer: Any) -> str:
    """What a refusal says; of another server's, its status."""
    if answer.headers.get("content-type", "") != "application/problem+json":
        return f"no answer of a gloss service: HTTP {answer.status_code}"
    problem = answer.json()
    faults = [f"{fault['pointer']}: {fault['detail']}" for fault in problem.get("errors", ())]
    return "; ".join([problem["detail"], *faults])
