"""A real service behind a real socket, for tests to ask."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event

import httpx
import uvicorn

from gloss.serving.app import create_service
from gloss.serving.arms import ServedArms
from gloss.serving.security import Keys
from gloss.serving.served import Served, ServedBundle
from gloss.serving.server import server_config
from gloss.serving.service import Service
from gloss.serving.settings import ServingSettings
from gloss.serving.state.store import open_database

__all__ = ["Held", "Running", "lives", "running", "wait_until"]


@dataclass(frozen=True)
class Running:
    """A service that listens, and a client of it."""

    service: Service
    client: httpx.Client
    port: int

    def post(self, path: str, **body: object) -> httpx.Response:
        return self.client.post(path, json=body)


@contextmanager
def running(
    bundle: Path,
    state: Path | str,
    keys: Keys | None = None,
    *,
    other: Path | None = None,
    open_bundle: Callable[[Path], Served] = ServedBundle.open,
    **settings: object,
) -> Iterator[Running]:
    """The service of a bundle, or of two, on a free port, until the block ends.

    open_bundle: how bundles are opened; here in this process, which needs no time to start.
    """
    # With the protocol named: asyncio sets TCP_NODELAY for sockets of TCP alone.
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        engine = open_database(str(state))
        bounds = ServingSettings(port=port, **settings)
        opened = partial(open_bundle, bundle)
        if other is not None:
            opened = ServedArms.opener(opened, partial(open_bundle, other))
        service = create_service(opened, engine, bounds, keys or Keys())
        service.model.start()
        config = server_config(service, keep_alive_seconds=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                yield Running(service, client, port)
        finally:
            server.should_exit = True
            thread.join()
            engine.dispose()


def wait_until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    """Wait for a condition, so many seconds at most."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.01)


def lives(process: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class Held:
    """A real recommender that waits for a word before it answers."""

    def __init__(self, served: Served, decoding: Event, go_on: Event) -> None:
        self.served, self.decoding, self.go_on = served, decoding, go_on
        self.fingerprint, self.catalogue = served.fingerprint, served.catalogue

    def recommend(self, histories, k, *, rules, wish, on_title=None):
        self.decoding.set()
        assert self.go_on.wait(30)
        return self.served.recommend(histories, k, rules=rules, wish=wish, on_title=on_title)
