"""The process: listens, and answers signals.

SIGTERM and SIGINT: no new connections; what was accepted is answered; the second time, end at once.
SIGHUP: serve what lies on disk now.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from gloss.errors import ConfigError, GlossError
from gloss.serving.app import create_app
from gloss.serving.protocol import protocol_of
from gloss.serving.service import Service
from gloss.serving.settings import ServingSettings, is_loopback
from gloss.serving.waiting import StoppedError

__all__ = ["check_host", "serve", "server_config"]

_log = logging.getLogger(__name__)

_MAX_HEADER_BYTES = 16 << 10

_SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter that another wants: a tenth of what Python allows,
since the thread of requests gives it up at each read and write of a socket."""


def check_host(settings: ServingSettings, *, has_keys: bool) -> None:
    """Raise ConfigError where others could reach a service that asks nobody for a key."""
    if not has_keys and not is_loopback(settings.host):
        raise ConfigError(
            f"{settings.host} can be reached by others: make a key with `gloss key NAME --keys "
            "FILE` and give --keys FILE, or serve 127.0.0.1"
        )


def serve(service: Service) -> None:
    """Start a service and serve it until a signal ends it. Raises what opening its model raises."""
    check_host(service.settings, has_keys=bool(service.keys))
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        service.model.start()
    except StoppedError as error:
        raise GlossError(f"the recommender cannot be tried: {error}") from None
    _Server(server_config(service), service).run()


def server_config(service: Service, *, keep_alive_seconds: int = 15) -> uvicorn.Config:
    """How uvicorn runs a service."""
    return uvicorn.Config(
        create_app(service),
        host=service.settings.host,
        port=service.settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        http=protocol_of(service),
        ws="none",
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
        timeout_keep_alive=keep_alive_seconds,
        backlog=1024,
    )


class _Server(uvicorn.Server):
    """uvicorn with our signals. A signal that ended it is not raised again: that is a clean end."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._reloads: set[asyncio.Task[None]] = set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers = {
            signal.SIGTERM: self._end,
            signal.SIGINT: self._end,
            signal.SIGHUP: self._begin_reload,
        }
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True

    def _begin_reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        try:
            served = await asyncio.to_thread(self._service.live.reload, self._service.model)
        except (GlossError, OSError, StoppedError) as error:
            _log.error("what is served stays: %s", error)
        else:
            _log.warning("serving %s", served.fingerprint)
