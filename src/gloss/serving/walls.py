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

from gloss.serving.crowd import Crowd
from gloss.serving.metrics import Metrics
from gloss.serving.problems import TOO_MANY, problem_response
from gloss.serving.routes.web import is_static
from gloss.serving.security import Key, Keys
from gloss.serving.settings import ServingSettings, is_loopback

__all__ = [
    "MODEL_PATH",
    "SAFE_HEADERS",
    "BodyWall",
    "CrowdWall",
    "DoorWall",
    "OuterWall",
    "door_refusal",
    "request_id_of",
]

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
_OPEN_PATH = "/livez"
"""That the process lives is said to everybody, and the page's files; all else asks for a key."""

MODEL_PATH = "/v1/recommend"
"""The path of requests that the model answers."""

_WITH_BODY = ("POST", "PUT", "PATCH")
SAFE_HEADERS = {
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
        request_id = request_id_of(Headers(scope=scope))
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.request(route, status, time.monotonic() - began)


def request_id_of(headers: Headers) -> str:
    """The client's, if it is one; it stands in logs."""
    given = headers.get("x-request-id")
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
        status, detail, key = door_refusal(Headers(scope=scope), self._keys, self._host)
        if detail:
            answer = problem_response(status, detail, scope["state"]["request_id"])
            await answer(scope, receive, send)
            return
        if key is not None:
            scope["state"]["key"] = key
        await self._app(scope, receive, send)


def door_refusal(headers: Headers, keys: Keys, host: str) -> tuple[int, str, Key | None]:
    """Status and reason, no reason for who may come in; and their key, where there are keys."""
    if not keys:
        if _names_this_machine(headers.get("host", ""), host):
            return 200, "", None
        return 403, "without keys the service answers to this machine's own names only", None
    kind, _, text = headers.get("authorization", "").partition(" ")
    key = keys.find(text.strip()) if kind.lower() == "bearer" else None
    if key is None:
        return 401, "a key is needed: Authorization: Bearer KEY", None
    return 200, "", key


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

    Most of these are refused unread (protocol.py); here are those that came in pieces.
    """

    def __init__(self, app: ASGIApp, crowd: Crowd) -> None:
        self._app, self._crowd = app, crowd

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != MODEL_PATH:
            await self._app(scope, receive, send)
            return
        if self._crowd.is_full:
            answer = problem_response(
                429, TOO_MANY, scope["state"]["request_id"], retry_after=self._crowd.retry_after
            )
            await answer(scope, receive, send)
            return
        with self._crowd.entered():
            await self._app(scope, receive, send)
