"""The walls of a request, from outside in: its id and the headers of its answer, who sends it, and
what it may send. ASGI middleware: a body is refused while it is read, not when it is in memory."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import MutableMapping
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gloss.serving.metrics import Metrics
from gloss.serving.model_thread import ModelThread
from gloss.serving.problems import TOO_MANY, problem_response
from gloss.serving.routes.web import is_static
from gloss.serving.security import Keys
from gloss.serving.settings import ServingSettings, is_loopback

__all__ = ["BodyWall", "CrowdWall", "DoorWall", "OuterWall"]

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
_OPEN_PATH = "/livez"
"""That the process lives is said to everybody, and the page's files; all else asks for a key."""

_MODEL_PATH = "/v1/recommend"

_WITH_BODY = ("POST", "PUT", "PATCH")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class OuterWall:
    """Gives a request its id, counts it, and sets the headers of its answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 500
        request_id = _request_id(Headers(scope=scope).get("x-request-id"))
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.request(route, status, time.monotonic() - began)


def _request_id(given: str | None) -> str:
    """The client's, if it is one; it stands in logs."""
    return given if given and _REQUEST_ID.match(given) else uuid4().hex


class DoorWall:
    """Lets in who has a key; where there are no keys, who names this machine.

    Without the second a page of any site could have its name resolved to 127.0.0.1 and read what
    the service answers (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, keys: Keys, host: str) -> None:
        self._app, self._keys, self._host = app, keys, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (self._keys and _is_open(scope["path"])):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        status, detail = self._refusal(scope, headers)
        if detail:
            answer = problem_response(status, detail, scope["state"]["request_id"])
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str]:
        """Status and reason; no reason for who may come in."""
        if not self._keys:
            if _names_this_machine(headers.get("host", ""), self._host):
                return 200, ""
            return 403, "without keys the service answers to this machine's own names only"
        kind, _, text = headers.get("authorization", "").partition(" ")
        key = self._keys.find(text.strip()) if kind.lower() == "bearer" else None
        if key is None:
            return 401, "a key is needed: Authorization: Bearer KEY"
        scope["state"]["key"] = key
        return 200, ""


def _is_open(path: str) -> bool:
    return path == _OPEN_PATH or is_static(path)


def _names_this_machine(header: str, host: str) -> bool:
    name = header.rsplit(":", 1)[0] if not header.endswith("]") else header
    bare = name.strip("[]").lower()
    return is_loopback(bare) or bare == host.lower()


class _RefusedBodyError(Exception):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class BodyWall:
    """Reads a body: JSON only, of bounded size, in bounded time."""

    def __init__(self, app: ASGIApp, settings: ServingSettings) -> None:
        self._app, self._settings = app, settings
        self._most_read = 8 * settings.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(Headers(scope=scope), scope["method"], receive)
        except _RefusedBodyError as refused:
            answer = problem_response(
                refused.status, refused.detail, scope["state"]["request_id"],
                headers={"Connection": "close"},
            )  # fmt: skip
            await answer(scope, receive, send)
            return
        if body is not None:
            await self._app(scope, _replayed(body, receive), send)

    async def _read(self, headers: Headers, method: str, receive: Receive) -> bytes | None:
        """The body; None when the client has gone while it sent it.

        One of another type is read before it is refused: see `_collect`.
        """
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared[:20]) > self._most_read:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                body = await self._collect(receive)
        except TimeoutError:
            raise _RefusedBodyError(408, "the body came too slowly") from None
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if body is not None and method in _WITH_BODY and kind != "application/json":
            raise _RefusedBodyError(415, "the body must be application/json")
        return body

    async def _collect(self, receive: Receive) -> bytes | None:
        """Reads on for a while where a body is too large, without keeping it: a client that still
        writes when its connection is closed would not see the answer."""
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            size += len(message.get("body", b""))
            if size <= self._settings.max_body_bytes:
                parts.append(message.get("body", b""))
            more = message.get("more_body", False) and size <= self._most_read
        if size > self._settings.max_body_bytes:
            raise self._too_large()
        return b"".join(parts)

    def _too_large(self) -> _RefusedBodyError:
        most = self._settings.max_body_bytes
        return _RefusedBodyError(413, f"the body is larger than {most:,} bytes")


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    sent = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    return sent or scope["method"] in _WITH_BODY


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body in one piece, then whatever comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


class CrowdWall:
    """Refuses requests for the model where it is crowded, before anything is made of their bodies.

    Many may be inside that do not wait for the model yet: where lists are made faster than requests
    are read, these are the queue. Who still sends a body is not counted, and keeps nobody out.
    """

    def __init__(self, app: ASGIApp, model: ModelThread, settings: ServingSettings) -> None:
        self._app, self._model = app, model
        self._most_inside = settings.max_waiting + settings.max_batch
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != _MODEL_PATH:
            await self._app(scope, receive, send)
            return
        if self._inside >= self._most_inside or self._model.is_full:
            answer = problem_response(
                429, TOO_MANY, scope["state"]["request_id"], retry_after=self._model.expected_wait
            )
            await answer(scope, receive, send)
            return
        self._inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1
