"""Two recommenders behind one service: who is given which, what is logged and forgotten."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from gloss.errors import ConfigError
from gloss.recommender.recommender import Recommender
from gloss.serving.arms import Experiment, parse_split
from services import Held, running, wait_until

NAMES = ("today", "new")
HALVES = Experiment(NAMES, share=0.5)
USERS = [f"user {number}" for number in range(24)]


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("experiment") / "state.db"


@pytest.fixture(scope="module")
def shop(shop_bundle, other_bundle, state):
    with running(shop_bundle, state, other=other_bundle, experiment=HALVES) as service:
        yield service


@pytest.fixture(scope="module")
def recommenders(shop_bundle, other_bundle) -> dict[str, Recommender]:
    return {
        "today": Recommender.open(shop_bundle),
        "new": Recommender.open(other_bundle),
    }


def lists_of(shop, user: str) -> list[dict]:
    return shop.client.get(f"/v1/users/{user}/export").json()["lists"]


def test_a_user_has_one_arm_and_shares_are_kept():
    many = [f"u{number}" for number in range(4000)]
    for share in (0.0, 0.25, 0.9, 1.0):
        given = [Experiment(NAMES, share=share).arm(user) for user in many]
        assert given == [Experiment(NAMES, share=share).arm(user) for user in many]
        assert given.count(0) / len(many) == pytest.approx(share, abs=0.02)


def test_a_larger_share_only_adds_users_and_other_names_divide_them_otherwise():
    few, more = Experiment(NAMES, share=0.3), Experiment(NAMES, share=0.6)
    assert all(more.arm(user) == 0 for user in USERS if few.arm(user) == 0)
    others = Experiment(("today", "newer"), share=0.5)
    assert [others.arm(user) for user in USERS] != [HALVES.arm(user) for user in USERS]


@pytest.mark.parametrize("text", ["90", "0/0", "a/b", "90/10/1", "-1/2", ""])
def test_what_is_no_split_is_refused(text):
    with pytest.raises(ConfigError, match="two whole numbers, as 90/10"):
        parse_split(text)


def test_a_user_is_answered_by_their_recommender_and_the_list_is_logged(shop, recommenders):
    for user in USERS:
        answer = shop.post("/v1/recommend", history=["Kite"], user=user, k=5).json()
        name = NAMES[HALVES.arm(user)]
        (expected,) = recommenders[name].recommend([["Kite"]], 5)
        items = [item["item"] for item in answer["items"]]
        assert items == [each.item for each in expected.items]
        assert answer["model"] == recommenders[name].fingerprint
        (logged,) = lists_of(shop, user)
        assert (logged["recommender"], logged["model"]) == (name, answer["model"])
        assert (logged["items"], logged["shown"]) == (items, True)
    assert set(Counter(NAMES[HALVES.arm(user)] for user in USERS)) == set(NAMES)


def test_a_named_recommender_answers_and_is_not_logged(shop, recommenders):
    for name in NAMES:
        answer = shop.post("/v1/recommend", history=["Kite"], user="named", model=name).json()
        assert answer["model"] == recommenders[name].fingerprint
    assert lists_of(shop, "named") == []
    refused = shop.post("/v1/recommend", model="older")
    assert refused.status_code == 422
    assert "no recommender has the name 'older': 'today', 'new'" in refused.json()["detail"]
    assert shop.client.get("/v1/info").json()["models"] == list(NAMES)


def test_who_names_no_user_is_given_the_first(shop, recommenders):
    answer = shop.post("/v1/recommend", history=["Kite"]).json()
    assert answer["model"] == recommenders["today"].fingerprint


def test_a_stream_is_logged_as_the_plain_answer_is(shop):
    events = {"Accept": "text/event-stream"}
    shop.client.post("/v1/recommend", json={"user": "streaming"}, headers=events)
    assert [each["shown"] for each in lists_of(shop, "streaming")] == [True]


def test_a_persons_lists_are_forgotten_with_their_purchases(shop):
    item = shop.client.get("/v1/items").json()["items"][0]["item"]
    for user in ("gone", "stays"):
        shop.post("/v1/events", events=[{"user": user, "item": item, "id": f"of {user}"}])
        shop.post("/v1/recommend", user=user)
        assert len(lists_of(shop, user)) == 1
    assert shop.client.delete("/v1/users/gone").json() == {"deleted": 1}
    assert (lists_of(shop, "gone"), len(lists_of(shop, "stays"))) == ([], 1)


def test_items_are_hidden_from_both(shop, recommenders):
    for name in NAMES:
        first = shop.post("/v1/recommend", history=["Kite"], model=name).json()["items"][0]["item"]
        shop.client.patch(f"/v1/items/{first}", json={"hidden": True})
        for other in NAMES:
            shown = shop.post("/v1/recommend", history=["Kite"], model=other, k=50).json()["items"]
            assert first not in [item["item"] for item in shown]
        shop.client.patch(f"/v1/items/{first}", json={"hidden": False})


def test_a_shadow_is_asked_and_logged_but_never_shown(
    shop_bundle, other_bundle, tmp_path, recommenders
):
    shadow = Experiment(NAMES, is_shadow=True)
    with running(shop_bundle, tmp_path / "state.db", other=other_bundle, experiment=shadow) as shop:
        for user in USERS[:4]:
            answer = shop.post("/v1/recommend", history=["Kite"], user=user, k=4).json()
            assert answer["model"] == recommenders["today"].fingerprint
        for user in USERS[:4]:
            wait_until(lambda user=user: len(lists_of(shop, user)) == 2)
            shown, made = lists_of(shop, user)
            assert [shown["recommender"], made["recommender"]] == list(NAMES)
            assert [shown["shown"], made["shown"]] == [True, False]
            (expected,) = recommenders["new"].recommend([["Kite"]], 4)
            assert made["items"] == [each.item for each in expected.items]


def test_a_service_that_ends_waits_for_its_shadows(shop_bundle, other_bundle, tmp_path):
    shadow, go_on = Experiment(NAMES, is_shadow=True), threading.Event()
    state = tmp_path / "state.db"
    with running(shop_bundle, state, other=other_bundle, experiment=shadow) as shop:
        served = shop.service.model.served
        second = Held(served.arms[1], threading.Event(), go_on)
        shop.service.model.swap(type(served)((served.arms[0], second), served.catalogue))
        shop.post("/v1/recommend", user="u")
        threading.Timer(0.3, go_on.set).start()
    with running(shop_bundle, state) as shop:
        assert [each["recommender"] for each in lists_of(shop, "u")] == list(NAMES)


def test_a_list_that_cannot_be_logged_is_given_all_the_same(shop_bundle, other_bundle, tmp_path):
    with running(shop_bundle, tmp_path / "state.db", other=other_bundle, experiment=HALVES) as shop:
        with shop.service.exposures._engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE exposures")
        assert shop.post("/v1/recommend", user="u").status_code == 200
