"""The API: what is asked for, what is answered, and what is refused."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gloss.recommender.recommender import Recommender
from gloss.recommender.rules import Rules
from gloss.serving.metrics import Metrics
from services import Held, running, wait_until

PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def titles(shop) -> list[str]:
    return [item.title for item in shop.service.live.served.catalogue][:8]


def ids(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["item"] for item in answer.json()["items"]]


@pytest.fixture(scope="module")
def recommender(shop_bundle) -> Recommender:
    return Recommender.open(shop_bundle)


def test_a_list_is_the_recommenders_own_with_its_reasons(shop, recommender, titles):
    answer = shop.post("/v1/recommend", history=["Zeppelin", *titles[:3]], k=5).json()
    (expected,) = recommender.recommend([["Zeppelin", *titles[:3]]], 5)
    assert [
        (each["item"], each["title"], each["reason"], each["why"], each["words"])
        for each in answer["items"]
    ] == [
        (each.item, each.title, each.reason, each.why, list(each.words)) for each in expected.items
    ]
    assert (answer["way"], answer["unknown"]) == ("fused", ["Zeppelin"])
    assert answer["nearest"] == list(expected.nearest)
    assert answer["model"] == recommender.fingerprint
    assert answer["model"] == shop.client.get("/v1/info").json()["model"]


def test_everybody_is_answered_in_the_way_that_fits(shop):
    nobody = shop.post("/v1/recommend").json()
    assert (nobody["way"], {item["reason"] for item in nobody["items"]}) == ("popular", {"popular"})
    assert shop.post("/v1/recommend", user="new").json()["items"] == nobody["items"]
    unknown = shop.post("/v1/recommend", history=["Brass Zeppelin"]).json()
    assert (unknown["way"], unknown["unknown"]) == ("language-model", ["Brass Zeppelin"])


def test_a_wish_is_searched_for(shop, recommender):
    title = recommender.catalogue[5].title
    wished = shop.post("/v1/recommend", wish=title, k=3).json()
    assert wished["way"] == "wish"
    assert title in {item["title"] for item in wished["items"]}


def test_ids_and_titles_of_a_history_are_the_same(shop, titles):
    first = shop.client.get("/v1/items", params={"limit": 3}).json()["items"]
    by_id = shop.post("/v1/recommend", history=[item["item"] for item in first])
    by_title = shop.post("/v1/recommend", history=[item["title"] for item in first])
    assert ids(by_id) == ids(by_title)


def test_rules_are_the_recommenders(shop, recommender, titles):
    history = titles[:2]
    usual = ids(shop.post("/v1/recommend", history=history, k=6))
    for body, rules in (
        ({"exclude": usual[:2]}, Rules(exclude=frozenset(usual[:2]))),
        ({"only": usual[3:5]}, Rules(only=frozenset(usual[3:5]))),
        ({"one_variant": True, "at_most": {"title": 1}}, Rules(one_variant=True)),
        ({"exclude_seen": False}, Rules(exclude_seen=False)),
    ):
        asked = ids(shop.post("/v1/recommend", history=history, k=4, rules=body))
        (expected,) = recommender.recommend([history], 4, rules=rules)
        assert asked == [each.item for each in expected.items]
        assert not {*body.get("exclude", ())} & set(asked)
        assert set(asked) <= set(body.get("only", asked))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"only": ["no such item"]}, "no item of the catalogue keeps the rules"),
        ({"at_most": {"colour": 1}}, "the catalogue has no column 'colour'"),
    ],
    ids=["nothing left", "no column"],
)
def test_rules_that_cannot_be_kept_are_refused_and_others_answered(shop, titles, rules, said):
    with ThreadPoolExecutor(2) as pool:
        refused = pool.submit(shop.post, "/v1/recommend", history=titles[:2], rules=rules)
        usual = pool.submit(shop.post, "/v1/recommend", history=titles[:2])
    assert (refused.result().status_code, usual.result().status_code) == (422, 200)
    assert said in refused.result().json()["detail"]


def test_what_a_user_buys_counts_in_the_next_list(shop):
    items = [item["item"] for item in shop.client.get("/v1/items").json()["items"]][:3]
    events = [{"user": "u1", "item": item, "id": f"e{item}"} for item in items]
    assert shop.post("/v1/events", events=events).json() == {"accepted": 3, "duplicates": 0}
    assert shop.post("/v1/events", events=events).json() == {"accepted": 0, "duplicates": 3}
    of_user = shop.post("/v1/recommend", user="u1")
    assert ids(of_user) == ids(shop.post("/v1/recommend", history=items))
    assert not set(items) & set(ids(of_user))


def test_a_persons_data_is_shown_exported_and_deleted(shop):
    item = shop.client.get("/v1/items").json()["items"][0]
    at = "2026-01-02T03:04:05Z"
    shop.post("/v1/events", events=[{"user": "a/b ?", "item": item["item"], "id": "x", "time": at}])
    known = [{"event": "x", "item": item["item"], "title": item["title"], "time": at}]
    path = "/v1/users/a%2Fb%20%3F"
    assert shop.client.get(path).json() == {"user": "a/b ?", "events": known}
    exported = {"user": "a/b ?", "events": known, "lists": []}
    assert shop.client.get(f"{path}/export").json() == exported
    assert shop.client.delete("/v1/users/a%2Fb%20%3F").json() == {"deleted": 1}
    assert shop.client.get("/v1/users/a%2Fb%20%3F").json()["events"] == []


def test_similar_items_are_not_the_item_itself(shop):
    item = shop.client.get("/v1/items").json()["items"][0]["item"]
    found = ids(shop.post("/v1/similar", item=item, k=5))
    assert item not in found
    assert 1 <= len(found) <= 5


def test_a_title_grounds_in_its_own_item(shop):
    items = shop.client.get("/v1/items").json()["items"][:2]
    lists = shop.post("/v1/ground", texts=[item["title"] for item in items], k=1).json()["lists"]
    assert [found["items"][0]["title"] for found in lists] == [item["title"] for item in items]


def test_search_finds_beginnings_of_words(shop):
    item = shop.client.get("/v1/items").json()["items"][0]
    words = " ".join(word[:4] for word in item["title"].split()[:3])
    found = shop.client.get("/v1/search", params={"q": words.upper()}).json()["items"]
    assert item["item"] in {each["item"] for each in found}


def every_item(shop) -> list[dict]:
    items, after = [], None
    while True:
        asked = {"limit": 200, **({"after": after} if after else {})}
        page = shop.client.get("/v1/items", params=asked).json()
        items += page["items"]
        after = page["next"]
        if after is None:
            return items


def test_pages_hold_every_item_once(shop):
    seen = [item["item"] for item in every_item(shop)]
    total = shop.client.get("/v1/items").json()["total"]
    assert len(seen) == len(set(seen)) == total


def test_hidden_and_removed_items_are_off_at_once_and_after_a_start(shop_bundle, tmp_path):
    history = ["Brass Zeppelin, Inflatable"]
    with running(shop_bundle, tmp_path / "state.db") as shop:
        hidden, removed, *_ = ids(shop.post("/v1/recommend", history=history))
        title = shop.client.get(f"/v1/items/{removed}").json()["title"]
        assert shop.client.patch(f"/v1/items/{hidden}", json={"hidden": True}).status_code == 200
        assert shop.client.delete(f"/v1/items/{removed}").json() == {"changed": 1}
        served = ids(shop.post("/v1/recommend", history=history))
        assert len(served) == 10
        assert not {hidden, removed} & set(served)
    with running(shop_bundle, tmp_path / "state.db") as shop:
        assert ids(shop.post("/v1/recommend", history=history)) == served
        assert shop.client.get(f"/v1/items/{hidden}").json()["hidden"]
        assert shop.client.get(f"/v1/items/{removed}").status_code == 404
        (found,) = shop.post("/v1/ground", texts=[title]).json()["lists"]
        assert not {hidden, removed} & {item["item"] for item in found["items"]}
        known = shop.post("/v1/recommend", history=[removed]).json()
        assert (known["way"], known["unknown"]) == ("fused", [])
        shown = shop.post("/v1/items/bulk", show=[hidden, removed])
        assert shown.json() == {"changed": 2}
        assert {hidden, removed} <= set(ids(shop.post("/v1/recommend", history=history)))


def test_many_changes_are_all_made_or_none(shop):
    first, second = (each["item"] for each in shop.client.get("/v1/items").json()["items"][:2])
    assert shop.post("/v1/items/bulk", hide=[first, "none such"]).status_code == 404
    assert not shop.client.get(f"/v1/items/{first}").json()["hidden"]
    new = [{"item": "bulk-1", "title": "Tin Zeppelin"}, {"item": "bulk-2", "title": "Tin Boat"}]
    assert shop.post("/v1/items/bulk", put=[*new, new[0]]).status_code == 422
    assert shop.client.get("/v1/items/bulk-1").status_code == 404
    assert shop.post("/v1/items/bulk", put=new, hide=[first], remove=[second]).json() == {
        "changed": 4
    }
    assert shop.client.get("/v1/items/bulk-2").json()["title"] == "Tin Boat"
    shop.post("/v1/items/bulk", remove=["bulk-1", "bulk-2"])
    assert shop.client.get(f"/v1/items/{first}").json()["hidden"]
    assert shop.post("/v1/items/bulk", show=[first, second]).json() == {"changed": 2}
    assert not shop.client.get(f"/v1/items/{second}").json()["hidden"]


def test_an_added_item_is_served_at_once_and_after_a_start(shop_bundle, tmp_path):
    with running(shop_bundle, tmp_path / "state.db") as shop:
        total = shop.client.get("/v1/items").json()["total"]
        added = shop.client.put("/v1/items/n%2F1", json={"title": "Paper  Zeppelin"})
        assert added.json() == {"changed": 1}
        found = shop.client.get("/v1/search", params={"q": "zepp"}).json()["items"]
        assert found == [{"item": "n/1", "title": "Paper Zeppelin", "hidden": False, "columns": {}}]
        assert shop.client.get("/v1/items").json()["total"] == total + 1
    with running(shop_bundle, tmp_path / "state.db") as shop:
        (grounded,) = shop.post("/v1/ground", texts=["zeppelin"], k=1).json()["lists"]
        assert grounded["items"][0]["item"] == "n/1"
        only = {"only": ["n/1"]}  # the language model may write nothing else
        assert ids(shop.post("/v1/recommend", history=["Kite"], rules=only)) == ["n/1"]
        shop.post("/v1/events", events=[{"user": "u", "item": "n/1", "id": "1"}])
        bought = shop.post("/v1/recommend", user="u").json()
        assert (bought["way"], bought["unknown"]) == ("fused", [])
        assert "n/1" not in [item["item"] for item in bought["items"]]
        assert shop.client.delete("/v1/items/n%2F1").json() == {"changed": 1}
        assert shop.client.get("/v1/search", params={"q": "zepp"}).json()["items"] == []


def test_an_item_has_another_title_until_it_has_its_own_again(shop):
    item = shop.client.get("/v1/items").json()["items"][0]
    path = f"/v1/items/{item['item']}"
    for title in ("Glass Zeppelin", item["title"]):
        assert shop.client.patch(path, json={"title": title}).status_code == 200
        assert shop.client.get(path).json() == {**item, "title": title}
        (found,) = shop.post("/v1/ground", texts=[title], k=1).json()["lists"]
        assert found["items"][0]["title"] == title


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"title": "Kite", "columns": {"colour": "red"}}, "the catalogue has no column 'colour'"),
        ({"title": "&nbsp;"}, "the title of item 'new' holds no word"),
    ],
    ids=["no column", "no word"],
)
def test_an_item_that_does_not_fit_changes_nothing(shop, body, said):
    refused = shop.client.put("/v1/items/new", json=body)
    assert refused.status_code == 422
    assert said in refused.json()["detail"]
    assert shop.client.get("/v1/items/new").status_code == 404
    assert shop.client.patch("/v1/items/new", json={"hidden": False}).status_code == 404


def test_the_last_item_cannot_be_removed(shop):
    items = [item["item"] for item in every_item(shop)]
    assert len(items) <= 1_000
    answer = shop.post("/v1/items/bulk", remove=items)
    assert answer.status_code == 422
    assert "nothing to recommend" in answer.json()["detail"]
    assert shop.client.get("/v1/items").json()["total"] == len(items)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"history": "Kite"}, "/body/history"),
        ({"history": ["x"] * 1001}, "/body/history"),
        ({"history": ["x" * 1001]}, "/body/history/0"),
        ({"history": ["a\x00b"]}, "/body/history/0"),
        ({"history": ["x"], "k": 101}, "/body/k"),
        ({"history": ["x"], "kk": 1}, "/body/kk"),
        ({"rules": {"where": "true"}}, "/body/rules/where"),
        ({"rules": {"diversity": 2}}, "/body/rules/diversity"),
        ({"rules": {"at_most": {"brand": 0}}}, "/body/rules/at_most/brand"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_wrong_is_named_by_its_place(shop, body, pointer):
    answer = shop.post("/v1/recommend", **body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"{", 422),
        (b'{"history": ["\\ud800"]}', 422),
        (b'{"history": ["\xff"]}', 400),
        (b"[" * 100_000, 400),
        (b'{"k": ' + b"9" * 5_000 + b', "history": ["x"]}', 400),
        (b'{"history": ["' + b"x" * (1 << 20) + b'"]}', 413),
        (b'{"history": [' + b'"x",' * 200_000 + b'"x"]}', 422),
    ],
    ids=["half", "surrogate", "not UTF-8", "deep", "long number", "large", "long list"],
)
def test_garbage_is_refused_as_a_problem(shop, sent, status):
    headers = {"content-type": "application/json"}
    answer = shop.client.post("/v1/recommend", content=sent, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert answer.json()["status"] == status


def raw(port: int, sent: bytes, *, wait: float = 10) -> bytes:
    """What a socket answers to bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as connection:
        connection.sendall(sent)
        return connection.recv(65536)


def test_sockets_that_speak_no_http_end_nobody_elses_request(shop):
    head = b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    assert b" 413 " in raw(shop.port, head + b"Content-Length: 1000000000\r\n\r\n")
    assert b" 400 " in raw(shop.port, head + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n")
    assert b" 400 " in raw(shop.port, b"\x00\xff\x00 nonsense\r\n\r\n")
    assert b" 400 " in raw(shop.port, b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000)
    assert shop.client.get("/livez").text == "ok\n"


def test_other_types_than_json_are_refused(shop):
    answer = shop.client.post("/v1/recommend", data={"history": "x"})
    assert (answer.status_code, answer.headers["content-type"]) == (415, PROBLEM)


def test_a_body_that_comes_too_slowly_is_refused(shop_bundle, tmp_path):
    head = b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with running(shop_bundle, tmp_path / "state.db", body_seconds=0.2) as shop:
        assert b" 408 " in raw(shop.port, head + b"Content-Length: 10\r\n\r\n{")


def test_what_waits_together_is_decoded_together(shop, titles):
    histories = [titles[place : place + 2] for place in range(6)]
    alone = [ids(shop.post("/v1/recommend", history=each)) for each in histories]

    def asked(history: list[str]) -> list[str]:
        return ids(shop.post("/v1/recommend", history=history))

    before = batches(shop)
    with ThreadPoolExecutor(24) as pool:
        together = list(pool.map(asked, histories * 4))
    assert together == alone * 4
    decoded, histories_decoded = (a - b for a, b in zip(batches(shop), before, strict=True))
    assert histories_decoded == 24
    assert decoded < 24


def batches(shop) -> tuple[float, float]:
    """How many batches there were, and of how many histories in all."""
    lines = dict(
        line.rsplit(" ", 1)
        for line in shop.client.get("/metrics").text.splitlines()
        if line.startswith("gloss_batch_histories_")
    )
    return tuple(float(lines[f"gloss_batch_histories_{name}"]) for name in ("count", "sum"))


def test_too_many_are_told_to_come_again(shop_bundle, tmp_path):
    with running(shop_bundle, tmp_path / "state.db", max_batch=1, max_waiting=2) as shop:
        with ThreadPoolExecutor(24) as pool:
            answers = list(
                pool.map(lambda _: shop.post("/v1/recommend", history=["Kite"] * 50), range(24))
            )
        refused = [answer for answer in answers if answer.status_code == 429]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)


def test_an_answer_that_would_come_too_late_is_not_waited_for(shop):
    answer = shop.post("/v1/recommend", history=["Kite"], timeout_ms=1)
    assert answer.status_code in (429, 503)
    assert int(answer.headers["retry-after"]) >= 1


def test_a_client_that_has_gone_costs_nothing(shop_bundle, tmp_path):
    body = json.dumps({"history": ["Kite"]}).encode()
    head = (
        b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    with running(shop_bundle, tmp_path / "state.db", max_batch=1) as shop:
        decoding, go_on = threading.Event(), threading.Event()
        served = shop.service.model.served
        shop.service.model.swap(Held(served, decoding, go_on))
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(shop.post, "/v1/recommend", history=["Kite"])
            assert decoding.wait(30)
            gone = [socket.create_connection(("127.0.0.1", shop.port)) for _ in range(5)]
            for connection in gone:
                connection.sendall(head + body)
            wait_until(lambda: shop.service.model.waiting == 5)
            for connection in gone:
                connection.close()
            time.sleep(0.3)  # until the event loop has seen them go
            go_on.set()
            assert first.result().status_code == 200
            wait_until(lambda: shop.service.model.waiting == 0)
        assert batches(shop) == (1, 1)


def test_readiness_is_a_real_decode(shop):
    assert shop.client.get("/readyz").json() == {"model": shop.service.model.served.fingerprint}


def test_the_openapi_document_names_every_refusal(shop):
    document = shop.client.get("/v1/openapi.json").json()
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert all(PROBLEM in each["responses"]["default"]["content"] for each in operations)
    assert {"Problem", "Fault"} <= set(document["components"]["schemas"])


def test_a_request_keeps_its_id_and_gets_one_if_it_has_none(shop):
    given = shop.client.get("/v1/info", headers={"X-Request-ID": "shop-1"})
    assert given.headers["x-request-id"] == "shop-1"
    made = shop.client.get("/v1/info", headers={"X-Request-ID": "a b\t<script>"})
    assert len(made.headers["x-request-id"]) == 32


def test_the_same_hour_yesterday_is_counted_and_no_other():
    now = 500_000 * 3600.0 + 1800
    metrics = Metrics(lambda: at)
    for hours_ago, reason in ((25, "written"), (24, "bought"), (24, "popular"), (23, "written")):
        at = now - 3600 * hours_ago
        metrics.recommended(0.1, "fused", [reason], ["i"])
    at = now
    assert metrics.last_hour(1)["yesterday"] == {
        "requests": 2,
        "ways": {"fused": 2},
        "reasons": {"bought": 1, "popular": 1},
        "ways_shift": None,
        "reasons_shift": None,
    }
    metrics.recommended(0.1, "popular", ["popular"], ["i"])
    yesterday = metrics.last_hour(1)["yesterday"]
    assert (yesterday["ways_shift"], yesterday["reasons_shift"]) == (1, 1 / 2)
    at = now + 3600
    assert metrics.last_hour(1)["yesterday"]["reasons"] == {"written": 1}


def test_the_last_hour_is_counted(shop, titles):
    before = shop.client.get("/v1/live").json()
    shop.post("/v1/recommend", history=titles[:2], k=3)
    after = shop.client.get("/v1/live").json()
    assert after["requests"] == before["requests"] + 1
    assert sum(after["per_minute"]) == after["requests"]
    assert 0 < after["coverage"] <= 1
