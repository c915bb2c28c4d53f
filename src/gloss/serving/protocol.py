"""HTTP for a service that is crowded: a request that would be refused is refused unread.

Where lists are asked for ten times as fast as they can be made, nine of ten requests are refused,
and what a refusal costs decides how much of the machine is left for lists: parsing, tasks, walls
and routes take half a millisecond of the interpreter, which the model's thread needs. Here the
request is looked at as bytes. Whatever is not plainly the whole of one request for a list, by
somebody who may ask, goes the usual way and is answered there.
"""

from __future__ import annotations

import json
import math
import time
from http import HTTPStatus

import h11
from starlette.datastructures import Headers
from uvicorn.protocols.http.h11_impl import H11Protocol

from gloss.serving.problems import MEDIA_TYPE, TOO_MANY, Problem
from gloss.serving.service import Service
from gloss.serving.walls import MODEL_PATH, SAFE_HEADERS, door_refusal, request_id_of

__all__ = ["protocol_of"]

_BEGINNING = f"POST {MODEL_PATH} HTTP/1.1\r\n".encode()
_MAX_BYTES = 1 << 16
"""More comes in several pieces, and goes the usual way."""


def protocol_of(service: Service) -> type[H11Protocol]:
    """The protocol for uvicorn's `http`."""

    class CrowdProtocol(H11Protocol):
        """uvicorn's, which refuses requests for lists of this service unread where it is full."""

        def data_received(self, data: bytes) -> None:
            began = time.monotonic()
            if not (data.startswith(_BEGINNING) and service.crowd.is_full and _is_idle(self)):
                super().data_received(data)
                return
            headers = _headers_of_whole(data)
            if headers is None or door_refusal(headers, service.keys, service.settings.host)[1]:
                super().data_received(data)
                return
            self.transport.write(_refusal(headers, service, self.server_state.default_headers))
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
            service.metrics.request(MODEL_PATH, 429, time.monotonic() - began)

    return CrowdProtocol


def _is_idle(connection: H11Protocol) -> bool:
    """Whether nothing of another request is being read or answered on a connection."""
    states = connection.conn
    is_new = states.our_state is h11.IDLE and states.their_state is h11.IDLE
    return is_new and not states.trailing_data[0] and not connection.transport.is_closing()


def _headers_of_whole(data: bytes) -> Headers | None:
    """The headers of bytes that are one request with all of its body; None for anything else.

    >>> whole = b"POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 2\\r\\n\\r\\n{}"
    >>> _headers_of_whole(whole)["host"]
    'a'
    >>> _headers_of_whole(whole[:-1]), _headers_of_whole(whole * 2)
    (None, None)
    """
    head, end, body = data[:_MAX_BYTES].partition(b"\r\n\r\n")
    if not end or len(data) > _MAX_BYTES:
        return None
    raw: list[tuple[bytes, bytes]] = []
    for line in head.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if not colon or name != name.strip():  # folded lines, and what is no header
            return None
        raw.append((name.lower(), value.strip()))
    headers = Headers(raw=raw)
    lengths = headers.getlist("content-length")
    if lengths != [str(len(body))] or "transfer-encoding" in headers or "expect" in headers:
        return None
    if "close" in headers.get("connection", "").lower() or len(headers.getlist("host")) != 1:
        return None
    return headers


def _refusal(headers: Headers, service: Service, defaults: list[tuple[bytes, bytes]]) -> bytes:
    """The bytes of the answer: that which the walls give, too."""
    status = HTTPStatus.TOO_MANY_REQUESTS
    request_id = request_id_of(headers)
    problem = Problem(title=status.phrase, status=status, detail=TOO_MANY, request_id=request_id)
    body = json.dumps(problem.model_dump()).encode()
    sent = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Retry-After": str(max(1, math.ceil(service.crowd.retry_after))),
        "X-Request-ID": request_id,
        **SAFE_HEADERS,
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
    lines += [b"%s: %s" % pair for pair in defaults]
    lines += [f"{name}: {value}".encode() for name, value in sent.items()]
    return b"\r\n".join([*lines, b"", body])
