"""Changes of the catalogue that other replicas have kept: looked for in the state, and served."""

from __future__ import annotations

import logging
from threading import Event, Thread

from sqlalchemy.exc import SQLAlchemyError

from gloss.errors import GlossError
from gloss.serving.service import Service

__all__ = ["watch_catalogue"]

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0


def watch_catalogue(service: Service) -> Thread:
    """Look every two seconds, as long as the process lives."""
    thread = Thread(target=_watch, args=(service,), name="gloss-catalogue", daemon=True)
    thread.start()
    return thread


def _watch(service: Service) -> None:
    never = Event()
    while not never.wait(_LOOK_SECONDS):
        try:
            service.live.catch_up(service.model)
        except (GlossError, SQLAlchemyError) as error:
            _log.error("changes of the catalogue cannot be read, what is served stays: %s", error)
