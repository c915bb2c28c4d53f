"""A service as replicas on Ray Serve: each is the whole service of one process, and all have one
state. Ray starts them, starts those that die again, and hands requests to them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from fastapi import FastAPI

from gloss.errors import ConfigError
from gloss.scale.cluster import worker_shape_here
from gloss.scale.worker import Surroundings
from gloss.serving.app import create_app, create_service
from gloss.serving.catalogue_watch import watch_catalogue
from gloss.serving.security import Keys
from gloss.serving.served import Served
from gloss.serving.settings import ServingSettings
from gloss.serving.state.store import open_database

__all__ = ["ReplicaRecipe", "deployed", "require_shared_state", "serve_until_stopped"]

_APP = "gloss"
_HEALTH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ReplicaRecipe:
    """What each replica is made of. state: the URL of the database that all share."""

    open_served: Callable[[], Served]
    state: str
    settings: ServingSettings
    keys: Keys
    surroundings: Surroundings

    def app(self) -> FastAPI:
        """The application of a started service."""
        self.surroundings.enter()
        service = create_service(
            self.open_served, open_database(self.state), self.settings, self.keys
        )
        service.model.start()
        watch_catalogue(service)
        return create_app(service)


def require_shared_state(state: str) -> None:
    """Raise ConfigError for a state that only one machine can read."""
    if not state.startswith(("postgresql://", "postgres://", "postgresql+")):
        raise ConfigError(
            "replicas on a cluster need one state for all: give --state the URL of a PostgreSQL "
            "database"
        )


@contextmanager
def deployed(recipe: ReplicaRecipe, replicas: int) -> Iterator[None]:
    """The replicas, answering at the host and port of the settings, until the block ends.

    The cluster is connected to already. A replica has as many requests as its own queue holds; of
    those that come when all are full as many wait again, and others are refused with 503.
    """
    from ray import serve

    settings, shape = recipe.settings, worker_shape_here()
    deployment = serve.deployment(
        name="Replica",
        num_replicas=replicas,
        max_ongoing_requests=settings.max_waiting + settings.max_batch,
        max_queued_requests=settings.max_waiting,
        graceful_shutdown_timeout_s=settings.deadline_seconds,
        health_check_period_s=_HEALTH_SECONDS,
        ray_actor_options={
            "num_cpus": shape.cpus,
            "num_gpus": shape.gpus,
            "runtime_env": {"env_vars": shape.environment},
        },
    )

    def build() -> FastAPI:
        return recipe.app()

    serve.start(http_options={"host": settings.host, "port": settings.port})
    serve.run(deployment(serve.ingress(build)()).bind(), name=_APP, route_prefix="/")
    try:
        yield
    finally:
        serve.delete(_APP)


def serve_until_stopped(recipe: ReplicaRecipe, replicas: int, say: Callable[[], Any]) -> None:
    """Serve until SIGTERM or SIGINT; `say` is called when all replicas answer."""
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()

    with deployed(recipe, replicas):
        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        say()
        try:
            while not stopped.wait(1.0):
                pass
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
