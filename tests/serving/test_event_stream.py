"""Server-sent events: titles while they are written, then the list; and what goes wrong."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gloss.recommender.recommender import Recommender
from services import Held, running, wait_until

EVENTS = {"Accept": "text/event-stream"}
HISTORY = ["Brass Zeppelin", "Kite"]


def parsed(text: str) -> list[tuple[str, dict]]:
    """Events by the rules of HTML's specification, as far as these use them."""
    blocks = [block.split("\n") for block in text.split("\n\n") if block]
    fields = [dict(line.split(": ", 1) for line in block) for block in blocks]
    return [(each["event"], json.loads(each["data"])) for each in fields]


def streamed(shop, **body) -> list[tuple[str, dict]]:
    answer = shop.client.post("/v1/recommend", json=body, headers=EVENTS)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    return parsed(answer.text)


def same(answer: dict) -> dict:
    return {name: value for name, value in answer.items() if name != "request_id"}


def test_titles_come_first_and_the_last_event_is_the_plain_answer(shop, shop_bundle):
    *titles, (last, answer) = streamed(shop, history=HISTORY, k=5)
    told = [title["title"] for _, title in titles]
    expected: list[str] = []
    Recommender.open(shop_bundle).recommend(
        [HISTORY], 5, on_title=lambda _number, title: expected.append(title)
    )
    assert {name for name, _ in titles} == {"title"}
    assert told == expected
    assert len(told) == len(set(told)) >= 4  # as many as beams
    assert last == "list"
    assert same(answer) == same(shop.post("/v1/recommend", history=HISTORY, k=5).json())


def test_titles_are_sent_while_the_list_is_being_made(shop_bundle, tmp_path):
    """The model's thread is held after its titles: they arrive, and the list does not."""
    with running(shop_bundle, tmp_path / "state.db") as shop:
        go_on = threading.Event()
        served = shop.service.model.served

        class HeldAfterTitles(Held):
            def recommend(self, histories, k, *, rules, wish, on_title=None):
                made = served.recommend(histories, k, rules=rules, wish=wish, on_title=on_title)
                assert go_on.wait(30)
                return made

        shop.service.model.swap(HeldAfterTitles(served, threading.Event(), go_on))
        with shop.client.stream(
            "POST", "/v1/recommend", json={"history": HISTORY}, headers=EVENTS
        ) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "event: title"
            go_on.set()
            rest = list(lines)
        assert "event: list" in rest


def test_who_streams_and_who_does_not_are_decoded_together(shop):
    alone = streamed(shop, history=HISTORY)
    with ThreadPoolExecutor(12) as pool:
        plain = [pool.submit(shop.post, "/v1/recommend", history=HISTORY) for _ in range(6)]
        streams = [pool.submit(streamed, shop, history=HISTORY) for _ in range(6)]
    for each in streams:
        events = each.result()
        assert {json.dumps(data) for name, data in events if name == "title"} == {
            json.dumps(data) for name, data in alone if name == "title"
        }
        assert same(events[-1][1]) == same(alone[-1][1])
    assert all(same(each.result().json()) == same(alone[-1][1]) for each in plain)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"rules": {"only": ["no such item"]}}, 422),
        ({"history": "Kite"}, 422),
        ({"timeout_ms": 1, "history": ["Kite"]}, None),
    ],
    ids=["nothing left", "no list", "too late"],
)
def test_what_is_refused_before_the_first_title_has_its_status(shop, body, status):
    answer = shop.client.post("/v1/recommend", json=body, headers=EVENTS)
    assert answer.status_code in ((429, 503) if status is None else (status,))
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_deadline_that_passes_after_titles_is_a_last_event(shop_bundle, tmp_path):
    with running(shop_bundle, tmp_path / "state.db") as shop:
        go_on, served = threading.Event(), shop.service.model.served

        class HeldAfterATitle(Held):
            def recommend(self, histories, k, *, rules, wish, on_title=None):
                on_title(0, "Kite")
                assert go_on.wait(30)
                return served.recommend(histories, k, rules=rules, wish=wish)

        shop.service.model.swap(HeldAfterATitle(served, threading.Event(), go_on))
        events = streamed(shop, history=HISTORY, timeout_ms=300)
        go_on.set()
        assert events[0] == ("title", {"title": "Kite"})
        assert (events[-1][0], events[-1][1]["status"]) == ("problem", 503)
        assert len(events) == 2


def test_a_client_that_has_gone_is_not_decoded_for(shop_bundle, tmp_path):
    body = json.dumps({"history": HISTORY}).encode()
    head = (
        b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Accept: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    with running(shop_bundle, tmp_path / "state.db", max_batch=1) as shop:
        decoding, go_on = threading.Event(), threading.Event()
        shop.service.model.swap(Held(shop.service.model.served, decoding, go_on))
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(shop.post, "/v1/recommend", history=HISTORY)
            assert decoding.wait(30)
            with socket.create_connection(("127.0.0.1", shop.port)) as gone:
                gone.sendall(head + body)
                wait_until(lambda: shop.service.model.waiting == 1)
            time.sleep(0.3)  # until the event loop has seen it go
            go_on.set()
            assert first.result().status_code == 200
            wait_until(lambda: shop.service.model.waiting == 0)
        lines = shop.client.get("/metrics").text.splitlines()
        assert "gloss_batch_histories_sum 1.0" in lines


def test_the_document_names_both_forms_of_the_answer(shop):
    document = shop.client.get("/v1/openapi.json").json()
    answer = document["paths"]["/v1/recommend"]["post"]["responses"]["200"]["content"]
    assert set(answer) == {"application/json", "text/event-stream"}
    reference = answer["application/json"]["schema"]["$ref"]
    assert reference == "#/components/schemas/RecommendAnswer"
