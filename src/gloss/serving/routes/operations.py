"""`/livez`, `/readyz`, `/metrics`, `/v1/info`, `/v1/live`, `/v1/admin`: for who runs a service."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from pydantic import BaseModel
from starlette.requests import Request

from gloss.errors import GlossError
from gloss.serving.problems import ProblemError
from gloss.serving.security import SCOPES
from gloss.serving.service import ServiceOf, ask, needs
from gloss.serving.waiting import Question

__all__ = ["router"]

router = APIRouter(tags=["operations"])

_READY_SECONDS = 5.0


class Ready(BaseModel):
    """The service answers. model: the fingerprint of its recommender."""

    model: str


class Info(BaseModel):
    """What is served, and what the key in hand may do.

    columns: of the catalogue; diversity, report: whether there is such a rule, and such a page;
    models: the names of the recommenders, where two are served.
    """

    name: str
    version: str
    model: str
    items: int
    columns: list[str]
    diversity: bool
    report: bool
    models: list[str]
    scopes: list[str]


@router.get("/livez", response_class=PlainTextResponse)
async def livez() -> str:
    """The process lives."""
    return "ok\n"


@router.get("/readyz")
async def readyz(request: Request, service: ServiceOf) -> Ready:
    """The model answers: it has just done so, or does so now."""
    if time.monotonic() - service.model.last_decoded > _READY_SECONDS:
        question = Question((service.live.served.catalogue[0].id,), 1)
        await ask(service, request, question, _READY_SECONDS)
    return Ready(model=service.model.served.fingerprint)


@router.get("/metrics", dependencies=[needs("metrics")], response_class=PlainTextResponse)
async def metrics(service: ServiceOf) -> Response:
    """Counters, as Prometheus reads them."""
    service.metrics.waiting.set(service.model.waiting)
    service.metrics.ready.set(service.model.is_ready)
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


@router.get("/v1/info")
async def info(request: Request, service: ServiceOf) -> Info:
    """What is served."""
    served, key = service.model.served, request.scope["state"].get("key")
    return Info(
        name=service.settings.name,
        version=version("gloss-rec"),
        model=served.fingerprint,
        items=len(service.live.view()),
        columns=list(served.catalogue[0].columns),
        diversity=served.has_diversity,
        report=service.settings.report is not None,
        models=list(service.experiments.names),
        scopes=list(key.scopes if key else SCOPES),
    )


@router.get("/v1/report", dependencies=[needs("metrics")], response_class=HTMLResponse)
def report(service: ServiceOf) -> HTMLResponse:
    """The report of the run that the bundle was made of, where the service was given one."""
    path = service.settings.report
    if path is None:
        raise ProblemError(404, "the service was started without --report")
    return HTMLResponse(path.read_bytes())


@router.get("/v1/live", dependencies=[needs("metrics")])
async def live(service: ServiceOf) -> dict[str, Any]:
    """The last hour: requests, times, ways, reasons, coverage."""
    hour = service.metrics.last_hour(len(service.model.served.catalogue))
    return {**hour, "waiting": service.model.waiting}


@router.post("/v1/admin/reload", dependencies=[needs("admin")])
def reload(service: ServiceOf) -> Ready:
    """Serve what lies on disk now; no request is lost. If it is damaged, what is served stays."""
    try:
        return Ready(model=service.live.reload(service.model).fingerprint)
    except GlossError as error:
        raise ProblemError(409, f"what is served stays: {error}") from None
