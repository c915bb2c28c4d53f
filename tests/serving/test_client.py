"""The client, sync and async, against a real service; and `gloss recommend --server`."""

from __future__ import annotations

import asyncio
import inspect
import json
import socket
import threading
from datetime import UTC, datetime

import pytest

from gloss.cli.main import main
from gloss.data.catalogue import ItemId
from gloss.errors import ConfigError
from gloss.recommender.recommender import Recommender
from gloss.recommender.rules import Rules
from gloss.serving.client import (
    AsyncClient,
    Client,
    Purchase,
    ServiceError,
    StoredItem,
    calls,
)
from gloss.serving.security import Keys, new_key
from services import running


@pytest.fixture(scope="module")
def client(shop):
    with Client(f"http://127.0.0.1:{shop.port}", retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def recommender(shop_bundle) -> Recommender:
    return Recommender.open(shop_bundle)


def test_a_list_over_http_is_the_recommenders_own(client, recommender):
    titles = [item.title for item in recommender.catalogue][:3]
    rules = Rules(exclude=frozenset({recommender.catalogue[9].id}), one_variant=True)
    (expected,) = recommender.recommend([["Zeppelin", *titles]], 5, rules=rules)
    answer = client.recommend(["Zeppelin", *titles], k=5, rules=rules)
    assert (answer.way, answer.unknown) == (expected.way, expected.unknown)
    assert answer.nearest == expected.nearest
    assert [(e.item, e.reason, e.why, e.words) for e in answer.items] == [
        (e.item, e.reason, e.why, e.words) for e in expected.items
    ]


def test_an_event_that_is_sent_twice_counts_once(client):
    item = client.search("", limit=1)[0].item
    bought = Purchase("client/u", item, time=datetime(2026, 1, 2, tzinfo=UTC))
    assert [client.add_events([bought]), client.add_events([bought])] == [1, 0]
    assert client.purchases("client/u") == [bought]
    assert client.forget("client/u") == 1
    assert client.purchases("client/u") == []


def test_items_are_put_found_and_removed(client):
    new = StoredItem(ItemId("client-1"), "Copper Zeppelin")
    assert client.change_items(put=[new]) == 1
    assert client.item("client-1") == new
    assert client.ground(["copper zeppelin"], k=1)[0][0].item == "client-1"
    assert "client-1" not in [each.item for each in client.similar("client-1", k=3)]
    assert client.change_items(remove=["client-1"]) == 1
    with pytest.raises(ServiceError, match="there is no item 'client-1'") as refused:
        client.item("client-1")
    assert refused.value.status == 404


def test_both_forms_answer_alike_and_many_at_once(shop, client):
    histories = [[each.title] for each in client.search("", limit=8)]

    async def asked() -> list:
        async with AsyncClient(f"http://127.0.0.1:{shop.port}") as other:
            return await asyncio.gather(*(other.recommend(each, k=3) for each in histories))

    alone = [client.recommend(each, k=3) for each in histories]
    together = asyncio.run(asked())
    assert [[e.item for e in a.items] for a in together] == [
        [e.item for e in a.items] for a in alone
    ]


def test_rules_that_are_not_taken_over_http_are_refused_here(client):
    with pytest.raises(ConfigError, match="not taken over HTTP"):
        client.recommend(rules=Rules(where="price < 1"))


def test_what_is_refused_for_now_is_sent_again():
    """A server that is full at first: 503 once, then an answer."""
    answers = [
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"deleted":7}',
    ]
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                for answer in answers:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with Client(f"http://127.0.0.1:{listening.getsockname()[1]}", retries=1) as client:
            assert client.forget("u") == 7
        thread.join()


def test_where_no_service_is_it_says_so():
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with Client(url, retries=1) as client, pytest.raises(ServiceError, match="does not answer"):
            client.forget("u")


def test_the_command_asks_a_service_with_the_key_of_the_environment(
    shop_bundle, tmp_path, monkeypatch, capsys
):
    text, key = new_key("shop", ["recommend"])
    with running(shop_bundle, tmp_path / "state.db", Keys((key,))) as shop:
        call = ["gloss", "recommend", "--server", f"http://127.0.0.1:{shop.port}", "--json"]
        monkeypatch.setattr("sys.argv", [*call, "--history", "Kite", "-k", "2"])
        monkeypatch.delenv("GLOSS_KEY", raising=False)
        with pytest.raises(SystemExit) as refused:
            main()
        assert refused.value.code == 1
        assert "a key is needed" in capsys.readouterr().err
        monkeypatch.setenv("GLOSS_KEY", text)
        with pytest.raises(SystemExit):
            main()
        answer = json.loads(capsys.readouterr().out)
        call.remove("--json")
        monkeypatch.setattr("sys.argv", [*call, "--history", "Kite", "-k", "2"])
        with pytest.raises(SystemExit) as answered:
            main()
    assert answered.value.code == 0
    assert "'Kite' is not a title of the catalogue" in capsys.readouterr().out
    assert (len(answer["items"]), answer["unknown"]) == (2, ["Kite"])


def test_titles_come_one_by_one_then_the_list(shop, client, recommender):
    history = ["Zeppelin", recommender.catalogue[3].title]
    expected: list[str] = []
    recommender.recommend([history], 4, on_title=lambda _number, title: expected.append(title))
    *titles, answer = client.stream(history, k=4)
    assert titles == expected
    assert answer == client.recommend(history, k=4)

    async def streamed() -> list:
        async with AsyncClient(f"http://127.0.0.1:{shop.port}") as other:
            return [event async for event in other.stream(history, k=4)]

    assert asyncio.run(streamed()) == [*titles, answer]


def test_a_stream_that_is_refused_says_why(client):
    nothing = Rules(only=frozenset({ItemId("no such item")}))
    with pytest.raises(ServiceError, match="no item of the catalogue keeps the rules") as refused:
        next(client.stream(["Kite"], rules=nothing))
    assert refused.value.status == 422


def test_a_stream_that_breaks_off_is_an_error():
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(head + b'event: title\ndata: {"title": "Kite"}\n\n')

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with Client(url) as client:
            stream = client.stream(["Kite"])
            assert next(stream) == "Kite"
            with pytest.raises(ServiceError, match="before the list"):
                next(stream)
        thread.join()


def test_both_forms_take_what_the_calls_take():
    for name in ("recommend", "stream", "change_items"):
        taken = [inspect.signature(getattr(form, name)) for form in (Client, AsyncClient)]
        of_call = inspect.signature(getattr(calls, name.replace("stream", "recommend")))
        assert [list(each.parameters.values())[1:] for each in taken] == [
            list(of_call.parameters.values())
        ] * 2
