"""Errors as RFC 9457 documents (`application/problem+json`): one shape for every refusal."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import Request

from gloss.errors import GlossError
from gloss.serving.waiting import StoppedError

__all__ = [
    "MEDIA_TYPE",
    "STARTS_AGAIN_SECONDS",
    "TOO_MANY",
    "Fault",
    "Problem",
    "ProblemError",
    "install_handlers",
    "problem_of",
    "problem_response",
]

MEDIA_TYPE = "application/problem+json"

TOO_MANY = "too many requests wait already"

STARTS_AGAIN_SECONDS = 2.0
"""After which a model that has stopped may answer again."""

_UNEXPECTED = "an error of the service, which it has logged"

_log = logging.getLogger(__name__)


class Fault(BaseModel):
    """One thing that is wrong with a request: a JSON pointer, and what is wrong there."""

    pointer: str
    detail: str


class Problem(BaseModel):
    """What an error answers (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[Fault] = []


class ProblemError(Exception):
    """A request that is refused. retry_after: seconds after which trying again makes sense."""

    def __init__(self, status: int, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.retry_after = status, detail, retry_after


def problem_response(
    status: int,
    detail: str,
    request_id: str,
    *,
    retry_after: float | None = None,
    errors: list[Fault] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """The answer for a refusal."""
    problem = _problem(status, detail, request_id, errors)
    sent = dict(headers or {})
    if retry_after is not None:
        sent["Retry-After"] = str(max(1, math.ceil(retry_after)))
    if status == HTTPStatus.UNAUTHORIZED:
        sent["WWW-Authenticate"] = "Bearer"
    return JSONResponse(problem.model_dump(), status, headers=sent, media_type=MEDIA_TYPE)


def problem_of(error: Exception, request_id: str) -> Problem:
    """What an error says, where the status of the answer has been sent already."""
    if isinstance(error, ProblemError):
        return _problem(error.status, error.detail, request_id)
    if isinstance(error, GlossError):
        return _problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), request_id)
    _log.error("request %s failed: %r", request_id, error)
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, _UNEXPECTED, request_id)


def _problem(
    status: int, detail: str, request_id: str, errors: list[Fault] | None = None
) -> Problem:
    return Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        request_id=request_id,
        errors=errors or [],
    )


def install_handlers(app: FastAPI) -> None:
    """Have every error of an application answered as a problem."""
    app.add_exception_handler(ProblemError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(GlossError, _gloss)
    app.add_exception_handler(StoppedError, _stopped)
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(PoolTimeout, _database)
    app.add_exception_handler(Exception, _unexpected)


def _id_of(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)
    return problem_response(
        error.status, error.detail, _id_of(request), retry_after=error.retry_after
    )


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = [Fault(pointer=_pointer(each), detail=each["msg"]) for each in error.errors()[:20]]
    return problem_response(
        422, "the request does not hold what is asked for", _id_of(request), errors=faults
    )


def _pointer(fault: dict[str, Any]) -> str:
    """Where a fault lies, as a JSON pointer; names that a client made up are cut short."""
    escaped = (
        str(part).encode("ascii", "replace").decode()[:60].replace("~", "~0").replace("/", "~1")
        for part in fault["loc"]
    )
    return "/" + "/".join(escaped)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return problem_response(
        error.status_code, str(error.detail), _id_of(request), headers=dict(error.headers or {})
    )


async def _gloss(request: Request, error: Exception) -> JSONResponse:
    return problem_response(422, str(error), _id_of(request))


async def _stopped(request: Request, error: Exception) -> JSONResponse:
    return problem_response(503, str(error), _id_of(request), retry_after=STARTS_AGAIN_SECONDS)


async def _database(request: Request, error: Exception) -> JSONResponse:
    _log.error("the state does not answer: %s", type(error).__name__)
    return problem_response(503, "the state does not answer", _id_of(request), retry_after=1)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    _log.error("request %s failed: %r", _id_of(request), error)
    return problem_response(500, _UNEXPECTED, _id_of(request))
