"""The process of the model: answers as the bundle does, dies alone, and ends with the service.

A process takes seconds to start, so that few are started here.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from gloss.data.catalogue import Item, ItemId
from gloss.errors import ArtifactError, InputError, MissingExtraError, UsageError
from gloss.recommender.rules import NO_RULES, Rules
from gloss.serving.model_process import ServedProcess
from gloss.serving.model_process_main import _portable
from gloss.serving.served import ServedBundle
from services import lives, running, wait_until

HISTORIES = [["Kite", "Ball"], []]


@pytest.fixture(scope="module")
def served(shop_bundle):
    return ServedProcess.open(shop_bundle)


def test_it_answers_as_the_bundle_does(served, shop_bundle):
    here = ServedBundle.open(shop_bundle)
    assert served.fingerprint == here.fingerprint
    assert served.has_diversity == here.has_diversity
    assert list(served.catalogue) == list(here.catalogue)
    told, told_here = [], []
    rules = Rules(exclude=frozenset([here.catalogue[0].id]), at_most={"group": 1})
    for wish in (None, "a kite"):
        how = {"rules": rules if "group" in here.catalogue[0].columns else NO_RULES, "wish": wish}
        lists = served.recommend(HISTORIES, 5, **how, on_title=lambda *title: told.append(title))
        expected = here.recommend(
            HISTORIES, 5, **how, on_title=lambda *title: told_here.append(title)
        )
        assert [[each.item for each in made.items] for made in lists] == [
            [each.item for each in made.items] for made in expected
        ]
        assert [made.way for made in lists] == [made.way for made in expected]
    assert told
    assert told == told_here
    assert served.search(["kite"], 3) == here.search(["kite"], 3)


def test_changes_are_made_there_and_what_nobody_has_is_forgotten(served):
    first, second = (item.id for item in served.catalogue.items[:2])
    hidden = served.changed([], [first])
    assert hidden.catalogue is served.catalogue
    added = hidden.changed([Item(ItemId("new"), "Green kite")], [first, second])
    assert [item.id for item in added.catalogue][-1] == "new"
    (hits,) = added.search(["Green kite"], 1)
    assert hits[0].item == "new"
    shown = [each.item for made in added.recommend(HISTORIES, 50, rules=NO_RULES, wish=None)
             for each in made.items]  # fmt: skip
    assert not {first, second} & set(shown)
    with pytest.raises(InputError, match="every item would be hidden"):
        served.changed([], [item.id for item in served.catalogue])
    del hidden, added
    assert served.search(["kite"], 1)  # the first is still there


def test_what_cannot_be_opened_says_why(tmp_path):
    with pytest.raises(ArtifactError) as here:
        ServedBundle.open(tmp_path)
    with pytest.raises(ArtifactError) as there:
        ServedProcess.open(tmp_path)
    assert str(there.value) == str(here.value)


def test_an_error_that_cannot_be_sent_comes_as_the_nearest_kind_that_can():
    kept = _portable(InputError("no such item"))
    assert (type(kept), str(kept)) == (InputError, "no such item")
    extra = MissingExtraError("a part", "trees")
    assert (type(_portable(extra)), str(_portable(extra))) == (UsageError, str(extra))

    class HereError(Exception):
        pass

    assert repr(_portable(HereError("x"))) == "RuntimeError(\"HereError('x')\")"


def test_a_service_outlives_the_processes_of_its_model(rankers_bundle, tmp_path):
    """Reloaded, asked to end, halted, killed: the first ends when nobody has it any more, the
    second takes no signal that is meant for the service, and the third comes by itself."""
    with (
        running(rankers_bundle, tmp_path / "state.db", open_bundle=ServedProcess.open) as shop,
        ThreadPoolExecutor(2) as pool,
    ):
        model = shop.service.model
        first = model.served.process
        assert shop.post("/v1/admin/reload").status_code == 200
        second = model.served.process
        assert second != first
        wait_until(lambda: not lives(first))

        os.kill(second, signal.SIGTERM)
        assert shop.post("/v1/recommend", history=["Kite"]).status_code == 200

        os.kill(second, signal.SIGSTOP)
        in_hand = [
            pool.submit(shop.post, "/v1/recommend", history=["Kite"]),
            pool.submit(shop.post, "/v1/ground", texts=["Kite"]),
        ]
        assert shop.client.get("/livez").text == "ok\n"
        assert shop.client.get("/v1/items?limit=1").json()["items"]
        assert not any(each.done() for each in in_hand)
        os.kill(second, signal.SIGKILL)
        for each in in_hand:
            assert each.result().status_code == 503
            assert int(each.result().headers["retry-after"]) >= 1

        wait_until(lambda: model.is_ready, seconds=120)
        assert shop.post("/v1/recommend", history=["Kite"]).status_code == 200
        assert shop.post("/v1/ground", texts=["Kite"]).status_code == 200
        assert model.served.process not in (first, second)


def test_calls_from_many_threads_get_their_own_answers(served):
    titles = [item.title for item in served.catalogue][:20]
    expected = [served.search([title], 1) for title in titles]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda title: served.search([title], 1), titles)) == expected
