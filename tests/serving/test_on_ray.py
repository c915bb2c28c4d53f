"""`gloss serve --ray`: two replicas of one state, and one of them killed under load."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import httpx
import pytest

from gloss.errors import ConfigError
from killed_services import free_port
from ray_nodes import Node, cluster, workers_on
from services import wait_until

_CLIENTS = 8
_BUSY = 180
"""Seconds after which even a busy machine should have done something."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: when it was sent and answered, and the status; 0 for no answer."""

    sent: float
    answered: float
    status: int


@pytest.fixture(scope="module")
def replicas(request) -> Iterator[tuple[str, Node]]:
    """The URL of two replicas, and the node that they run on."""
    if not find_spec("ray"):
        pytest.skip("needs the extra scale")
    state, bundle = map(request.getfixturevalue, ("postgresql_url", "shop_bundle"))
    port = free_port()
    command = [sys.executable, "-c", "from gloss.cli.main import main; main()", "serve"]
    options = ("--port", str(port), "--state", state, "--replicas", "2")
    with cluster(1, cpus=2) as (address, (node,)):
        serving = subprocess.Popen(
            [*command, str(bundle), *options, "--ray", address],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert serving.stderr is not None
            said = next((line for line in serving.stderr if line.startswith("serving ")), "")
            assert f"http://127.0.0.1:{port}/" in said
            yield f"http://127.0.0.1:{port}", node
        finally:
            serving.send_signal(signal.SIGTERM)
            _, said = serving.communicate(timeout=_BUSY)
        assert serving.returncode == 0, said


@contextmanager
def under_load(url: str) -> Iterator[list[Asked]]:
    """The requests of clients that ask one after the other, until the block ends."""
    asked: list[Asked] = []
    over = threading.Event()

    def ask(number: int) -> None:
        with httpx.Client(base_url=url, timeout=_BUSY) as client:
            while not over.is_set():
                sent, status = time.monotonic(), 0
                try:
                    body = {"history": [f"Quillon Notebook {number}"], "k": 3}
                    status = client.post("/v1/recommend", json=body).status_code
                except httpx.TransportError:
                    pass
                asked.append(Asked(sent, time.monotonic(), status))

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(_CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield asked
    finally:
        over.set()
        for client in clients:
            client.join()


def sent_since(moment: float, asked: list[Asked]) -> int:
    return sum(each.sent > moment for each in asked)


def test_a_change_of_the_catalogue_reaches_every_replica(replicas):
    url, _ = replicas
    with httpx.Client(base_url=url, timeout=_BUSY) as client:
        body = {"history": [], "k": 1}
        (first,) = client.post("/v1/recommend", json=body).json()["items"]
        assert client.patch(f"/v1/items/{first['item']}", json={"hidden": True}).is_success

        def is_hidden() -> bool:
            answers = [client.post("/v1/recommend", json=body).json() for _ in range(10)]
            return all(answer["items"][0]["item"] != first["item"] for answer in answers)

        wait_until(is_hidden, seconds=_BUSY)


def test_a_replica_that_is_killed_loses_only_what_it_had_in_hand(replicas):
    url, node = replicas
    first = workers_on(node)
    assert len(first) == 2
    with under_load(url) as asked:
        wait_until(lambda: len(asked) > 5 * _CLIENTS, seconds=_BUSY)
        killed = time.monotonic()
        os.kill(first[0], signal.SIGKILL)
        wait_until(lambda: sent_since(killed, asked) > 5 * _CLIENTS, seconds=_BUSY)
    lost = [each for each in asked if each.status != 200]
    assert len(lost) <= _CLIENTS
    assert [each for each in lost if not each.sent <= killed <= each.answered] == []
    wait_until(lambda: len(set(workers_on(node)) - set(first)) == 1, seconds=_BUSY)  # a new one


def test_a_state_that_one_machine_has_is_refused(tmp_path):
    pytest.importorskip("ray", reason="needs the extra scale")
    from gloss.scale.serving import require_shared_state

    with pytest.raises(ConfigError, match="the URL of a PostgreSQL database"):
        require_shared_state(str(tmp_path / "state.db"))
