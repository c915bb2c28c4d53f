"""A bundle whose vectors are in a Milvus server, made by the commands and changed live."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gloss.errors import ConfigError
from gloss.experiment import bundling
from gloss.experiment.loading import with_overrides
from gloss.recommender.bundle import open_bundle
from gloss.recommender.recommender import Recommender
from gloss.retrieval.index import load_index
from services import Running, running
from vector_stores import milvus_server

SETTINGS = {
    "name": "stored",
    "data": {"source": "shop", "users": 40},
    "rankers": {"use": ["last-item"], "length": 20},
}
PATH = "Quantum flux capacitor"


@pytest.fixture(scope="module")
def address(tmp_path_factory, minilm) -> Iterator[str]:
    with milvus_server(tmp_path_factory.mktemp("milvus")) as address:
        yield address


@pytest.fixture(scope="module")
def bundle(address, tmp_path_factory) -> Path:
    """A recommender without a language model, fitted as `gloss fit` fits it."""
    folder = tmp_path_factory.mktemp("stored")
    settings = with_overrides(SETTINGS, ["index.retriever=milvus", f"index.address={address}"])
    made = bundling.fit(settings, folder / "bundle", parts=folder / "parts", model=False)
    return made.path


@pytest.fixture
def shop(bundle, tmp_path) -> Iterator[Running]:
    with running(bundle, tmp_path / "state.db") as service:
        yield service


def first(service: Running, text: str) -> str:
    (found,) = service.post("/v1/ground", texts=[text], k=1).json()["lists"]
    return found["items"][0]["item"]


def test_a_bundle_searches_the_store(bundle):
    opened = open_bundle(bundle)
    assert opened.index.settings.retriever == "milvus"
    titles = [item.title for item in opened.catalogue[:9]]
    hits = opened.retriever.search(titles, 1)
    assert [opened.catalogue.title(each[0].item) for each in hits] == titles
    history = (opened.catalogue[0].id,)
    (answer,) = Recommender.open(bundle).recommend([history], 10)
    assert len({each.item for each in answer.items} - set(history)) == 10


def test_items_come_change_and_go_live(bundle, shop, tmp_path):
    assert shop.client.put("/v1/items/new-1", json={"title": PATH}).status_code == 200
    assert first(shop, "flux capacitors") == "new-1"
    assert shop.client.patch("/v1/items/new-1", json={"title": "Tin whistle"}).status_code == 200
    assert first(shop, "tin whistles") == "new-1"
    assert first(shop, PATH) != "new-1"
    with running(bundle, tmp_path / "state.db") as another:  # the changes are replayed
        assert first(another, "tin whistles") == "new-1"
    with running(bundle, tmp_path / "other.db") as other:  # of the same store, without them
        assert first(other, "tin whistles") != "new-1"
    assert shop.client.delete("/v1/items/new-1").status_code == 200
    assert first(shop, "tin whistles") != "new-1"


def test_an_item_that_is_renamed_and_named_back_is_found_as_before(bundle, shop):
    item = open_bundle(bundle).catalogue[0]
    assert first(shop, item.title) == item.id
    shop.client.patch(f"/v1/items/{item.id}", json={"title": PATH})
    assert first(shop, PATH) == item.id
    shop.client.patch(f"/v1/items/{item.id}", json={"title": item.title})
    assert first(shop, item.title) == item.id
    assert first(shop, PATH) != item.id


def test_a_bundle_does_not_lead_into_a_folder_of_vectors(tmp_path, minilm):
    pytest.importorskip("milvus_lite", reason='needs the extra "store"')
    wanted = ["index.retriever=milvus", f"index.address={tmp_path / 'store.db'}"]
    settings = with_overrides(SETTINGS, wanted)
    with pytest.raises(ConfigError, match=r"bundle holds no path .*http://HOST:19530"):
        bundling.fit(settings, tmp_path / "bundle", parts=tmp_path / "parts", model=False)
    assert not (tmp_path / "bundle").exists()


def test_fitting_again_leaves_the_store_to_a_bundle_that_is_served(bundle, address, tmp_path):
    settings = with_overrides(SETTINGS, ["index.retriever=milvus", f"index.address={address}"])
    bundling.fit(settings, tmp_path / "bundle", parts=tmp_path / "parts", model=False)
    one, two = open_bundle(bundle), open_bundle(tmp_path / "bundle")
    texts = [item.title for item in one.catalogue[:5]]
    assert one.retriever.search(texts, 3) == two.retriever.search(texts, 3)
    store = load_index(bundle / "index").stored.store
    assert len(store) >= len(one.catalogue)
