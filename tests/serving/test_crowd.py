"""What happens where too many ask: who is refused, how, and who is still answered."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from gloss.serving.batch_time import BatchTime
from gloss.serving.security import Keys, new_key
from gloss.serving.waiting import DeadlineError, Job, Question, WaitingRoom
from services import Held, running, wait_until

BODY = json.dumps({"history": ["Kite"]}).encode()
QUESTION = Question(("Kite",), 1)


def request(*headers: str, host: str = "localhost", body: bytes = BODY) -> bytes:
    lines = [
        "POST /v1/recommend HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Raw:
    """A connection of bytes."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.file = self.socket.makefile("rb")

    def ask(self, *parts: bytes) -> tuple[int, dict[str, str], dict]:
        for number, part in enumerate(parts):
            time.sleep(0.05 if number else 0)  # so that it comes in pieces
            self.socket.sendall(part)
        status = int(self.file.readline().split()[1])
        headers = {}
        while (line := self.file.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        return status, headers, json.loads(self.file.read(int(headers["content-length"])))

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@contextmanager
def crowded(bundle, state, keys: Keys | None = None):
    """A service in which one request is decoded and one waits, as many as may; and a connection."""
    with running(bundle, state, keys, max_batch=1, max_waiting=1) as shop:
        decoding, go_on = threading.Event(), threading.Event()
        shop.service.model.swap(Held(shop.service.model.served, decoding, go_on))
        with ThreadPoolExecutor(2) as pool:
            ask = shop.service.model.ask
            inside = [ask(QUESTION, time.monotonic() + 60)]
            assert decoding.wait(30)
            inside.append(ask(QUESTION, time.monotonic() + 60))
            raw = Raw(shop.port)
            try:
                yield shop, raw, go_on
            finally:
                go_on.set()
                raw.close()
                for job in inside:
                    pool.submit(job.future.result, 30).result()


def test_a_refusal_unread_is_the_refusal_of_the_walls(shop_bundle, tmp_path):
    with crowded(shop_bundle, tmp_path / "state.db") as (shop, raw, _):
        whole = request("X-Request-ID: shop-1")
        unread = raw.ask(whole)
        in_pieces = raw.ask(whole[:40], whole[40:])
        again = raw.ask(whole)
        assert unread[0] == in_pieces[0] == again[0] == 429
        assert unread[2] == in_pieces[2] == again[2]
        assert unread[2]["request_id"] == unread[1]["x-request-id"] == "shop-1"
        changing = ("date", "content-length")
        assert {name: v for name, v in unread[1].items() if name not in changing} == {
            name: v for name, v in in_pieces[1].items() if name not in changing
        }
        lines = shop.client.get("/metrics").text.splitlines()
        assert 'gloss_requests_total{route="/v1/recommend",status="429"} 2.0' in lines


def test_a_connection_goes_on_after_a_refusal(shop_bundle, tmp_path):
    with crowded(shop_bundle, tmp_path / "state.db") as (shop, raw, go_on):
        assert raw.ask(request())[0] == 429
        go_on.set()
        wait_until(lambda: not shop.service.crowd.is_full)
        status, _, answer = raw.ask(request())
        assert (status, len(answer["items"])) == (200, 10)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request(host="shop.example"), 403),
        (request().replace(b"/v1/recommend", b"/v1/nothing"), 404),
        (request("Transfer-Encoding: chunked").replace(b"\r\n\r\n{", b"\r\n\r\n5\r\n{", 1), 400),
    ],
    ids=["another name", "another path", "two lengths"],
)
def test_what_is_not_plainly_a_request_for_a_list_goes_the_usual_way(
    shop_bundle, tmp_path, sent, status
):
    with (
        crowded(shop_bundle, tmp_path / "state.db") as (shop, _, _),
        socket.create_connection(("127.0.0.1", shop.port), timeout=30) as connection,
    ):
        connection.sendall(sent)
        assert int(connection.recv(65536).split()[1]) == status


def test_without_a_key_a_crowded_service_still_asks_for_one(shop_bundle, tmp_path):
    text, key = new_key("shop", ["recommend"])
    with crowded(shop_bundle, tmp_path / "state.db", Keys((key,))) as (_, raw, _):
        assert raw.ask(request())[0] == 401
        assert raw.ask(request("Authorization: Bearer wrong"))[0] == 401
        assert raw.ask(request(f"Authorization: Bearer {text}"))[0] == 429


def job(seconds: float) -> Job:
    return Job(QUESTION, time.monotonic() + seconds)


def test_who_cannot_be_answered_in_time_is_not_decoded():
    room = WaitingRoom(10)
    jobs = [job(each) for each in (90, 10, 30, 20)]
    for each in jobs:
        room.add(each)
    taken = room.take(10, lambda size: 10.0 * size)  # 4 take 40 seconds, 3 take 30, 2 take 20
    assert taken == [jobs[0], jobs[2]]
    for late in (jobs[1], jobs[3]):
        with pytest.raises(DeadlineError):
            late.future.result(0)


def test_one_is_decoded_whatever_the_last_batch_took():
    """Else a time that was measured once would keep everybody out."""
    room = WaitingRoom(10)
    jobs = [job(1), job(2)]
    for each in jobs:
        room.add(each)
    assert room.take(10, lambda size: 1000.0) == [jobs[1]]


def test_a_time_that_is_linear_in_the_size_is_learned_and_extrapolated():
    learned = BatchTime()
    assert learned.of(8) == 0
    for size in (1, 5, 9, 16) * 10:
        learned.learn(size, 0.2 + 0.01 * size)
    assert learned.of(32) == pytest.approx(0.2 + 0.01 * 32, rel=0.05)
    assert learned.of(0) == 0


def test_batches_of_one_size_say_that_half_of_their_time_is_fixed():
    learned = BatchTime()
    for _ in range(50):
        learned.learn(4, 1.0)
    assert learned.of(4) == pytest.approx(1.0)
    assert learned.of(8) == pytest.approx(1.5)


def test_a_slow_batch_is_forgotten():
    learned = BatchTime()
    learned.learn(4, 100.0)
    for _ in range(60):
        learned.learn(4, 1.0)
    assert learned.of(4) == pytest.approx(1.0, rel=0.05)
