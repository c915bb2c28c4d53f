"""Services as processes: killed, ended, reloaded, and with their model's thread killed."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from killed_services import MODULES, free_port, kill_while_posting, wait_for
from processes import Processes
from services import Held, lives, running, wait_until


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    with Processes.started(tmp_path_factory.mktemp("processes"), *MODULES) as server:
        yield server


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_acknowledged_events_survive_a_kill(processes, rankers_bundle, tmp_path, request, database):
    if database == "sqlite":
        state = str(tmp_path / "state.db")
    else:
        state = request.getfixturevalue("postgresql_url")
    outcome = kill_while_posting(processes, rankers_bundle, state, kills=1, rng=random.Random(0))
    assert outcome.acknowledged
    outcome.check()


def test_the_process_of_the_model_ends_with_a_killed_service(processes, rankers_bundle, tmp_path):
    port = free_port()
    service = processes.start(
        "serve", rankers_bundle, "--port", port, "--state", tmp_path / "state.db"
    )
    wait_for(port)
    tasks = Path(f"/proc/{service}/task").glob("*/children")
    (model,) = [int(number) for task in tasks for number in task.read_text().split()]
    assert lives(model)
    os.kill(service, signal.SIGKILL)
    processes.wait()
    wait_until(lambda: not lives(model))


def asking(port: int, answers: Counter, ended: threading.Event) -> None:
    """Ask until told to stop, or until the service takes no connection any more.

    A request that was written and got no answer counts as "lost".
    """
    while not ended.is_set():
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                answer = client.post("/v1/recommend", json={"history": ["Kite", "Ball"]})
        except httpx.ConnectError:
            return
        except httpx.TransportError:
            answers["lost"] += 1
        else:
            answers[answer.status_code] += 1


def test_reloads_and_sigterm_under_load_lose_no_request(processes, rankers_bundle, tmp_path):
    port, answers, ended = free_port(), Counter(), threading.Event()
    process = processes.start(
        "serve", rankers_bundle, "--port", port, "--state", tmp_path / "state.db"
    )
    wait_for(port)
    with ThreadPoolExecutor(6) as pool:
        for _ in range(6):
            pool.submit(asking, port, answers, ended)
        os.kill(process, signal.SIGHUP)
        before = answers[200]
        wait_until(lambda: answers[200] >= before + 5)
        url = f"http://127.0.0.1:{port}/v1/admin/reload"
        reloaded = httpx.post(url, json={}, timeout=60)
        before = answers[200]
        wait_until(lambda: answers[200] >= before + 5)
        os.kill(process, signal.SIGTERM)
        status, _, said = processes.wait()
        ended.set()
    assert (status, reloaded.status_code) == (0, 200), said
    assert answers.keys() == {200}
    assert reloaded.json()["model"] in said


def test_a_reload_of_what_is_damaged_leaves_what_is_served(shop_bundle, tmp_path):
    import shutil

    bundle = shutil.copytree(shop_bundle, tmp_path / "bundle")
    with running(bundle, tmp_path / "state.db") as shop:
        file = bundle / "catalogue.parquet"
        file.write_bytes(file.read_bytes()[:-1])
        answer = shop.post("/v1/admin/reload")
        assert answer.status_code == 409
        assert str(bundle) in answer.json()["detail"]
        assert shop.post("/v1/recommend", history=["Kite"]).status_code == 200


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_killed_model_thread_is_told_to_clients_and_comes_back(shop_bundle, tmp_path):
    with running(shop_bundle, tmp_path / "state.db") as shop, ThreadPoolExecutor(1) as pool:
        decoding, go_on = threading.Event(), threading.Event()
        shop.service.model.swap(Held(shop.service.model.served, decoding, go_on))
        worker = shop.service.model.worker
        in_hand = pool.submit(shop.post, "/v1/recommend", history=["Kite"])
        assert decoding.wait(30)
        killed = ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(worker.ident), ctypes.py_object(SystemExit)
        )
        assert killed == 1
        go_on.set()
        assert in_hand.result().status_code == 503
        assert int(in_hand.result().headers["retry-after"]) >= 1
        wait_until(lambda: shop.service.model.is_ready)
        assert shop.post("/v1/recommend", history=["Kite"]).status_code == 200
        assert shop.service.model.worker is not worker
