"""All of the service put together as one ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware

from gloss.serving.crowd import Crowd
from gloss.serving.experiments import Experiments
from gloss.serving.live import LiveRecommender
from gloss.serving.metrics import Metrics
from gloss.serving.model_thread import ModelThread
from gloss.serving.problems import MEDIA_TYPE, Problem, install_handlers
from gloss.serving.routes import events, items, operations, recommend, web
from gloss.serving.security import Keys
from gloss.serving.served import Served
from gloss.serving.service import Service
from gloss.serving.settings import ServingSettings
from gloss.serving.state.events import EventLog
from gloss.serving.state.exposures import ExposureLog
from gloss.serving.state.items import ItemChanges
from gloss.serving.walls import BodyWall, CrowdWall, DoorWall, OuterWall

__all__ = ["create_app", "create_service"]

_CONTENT = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {"description": "Refused (RFC 9457)", "content": _CONTENT},
    503: {"description": "Not answered in time, or not now: see Retry-After", "content": _CONTENT},
}


def create_service(
    open_served: Callable[[], Served],
    state: Engine,
    settings: ServingSettings,
    keys: Keys,
) -> Service:
    """A service that is not started yet. open_served: how the recommender on disk is opened."""
    metrics = Metrics()
    live = LiveRecommender(open_served, ItemChanges(state))
    model = ModelThread(live.open, settings, metrics.decoded)
    exposures = ExposureLog(state)
    return Service(
        settings=settings,
        keys=keys,
        model=model,
        crowd=Crowd(model, settings),
        live=live,
        events=EventLog(state),
        exposures=exposures,
        experiments=Experiments(settings, model, exposures),
        metrics=metrics,
    )


def create_app(service: Service) -> FastAPI:
    """The application of a started service; when it ends, those who wait are answered first."""
    app = FastAPI(
        title="GLoSS",
        description="Generative recommendation with semantic search.",
        version="1",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses=_PROBLEMS,
        lifespan=_lifespan,
        middleware=[
            Middleware(OuterWall, metrics=service.metrics),
            Middleware(DoorWall, keys=service.keys, host=service.settings.host),
            Middleware(BodyWall, settings=service.settings),
            Middleware(CrowdWall, crowd=service.crowd),
        ],
    )
    app.state.service = service
    install_handlers(app)
    for part in (recommend, items, events, operations, web):
        app.include_router(part.router)
    _describe_problems(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    service: Service = app.state.service
    await run_in_threadpool(service.model.close)
    await service.experiments.drained()


def _describe_problems(app: FastAPI) -> None:
    """Put the shape of a refusal into the OpenAPI document, which routes refer to."""
    generate = app.openapi

    def described() -> dict[str, object]:
        document = generate()
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        parts = schema.pop("$defs", {})
        document["components"]["schemas"].update({"Problem": schema, **parts})
        return document

    app.openapi = described  # type: ignore[method-assign]
