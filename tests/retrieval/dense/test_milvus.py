"""The vector store: embedded, and the same client against a server in another process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from gloss.data.catalogue import Catalogue, Item
from gloss.errors import ArtifactError, ConfigError, InputError, MissingExtraError
from gloss.retrieval.changes import add_items, remove_items
from gloss.retrieval.dense import milvus as store
from gloss.retrieval.dense.milvus import VectorStore
from gloss.retrieval.index import build_index, load_index
from gloss.retrieval.retriever import Retriever
from gloss.retrieval.settings import DenseSettings, MilvusSettings
from gloss.testing.catalogues import TITLES, catalogue_of
from gloss.testing.retrievers import EncoderContract
from preparing import save_index
from vector_stores import milvus_server

SETTINGS = DenseSettings(title_style="paper", exact_first=False)
CATALOGUE = catalogue_of(TITLES)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    with milvus_server(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture(scope="module", params=["embedded", "server"])
def address(request, tmp_path_factory) -> str:
    pytest.importorskip("milvus_lite", reason='needs the extra "store"')
    if request.param == "server":
        return request.getfixturevalue("server")
    return str(tmp_path_factory.mktemp("embedded") / "store.db")


@pytest.fixture(scope="module")
def filled(address, minilm) -> Iterator[VectorStore]:
    with closing(VectorStore.open(address, "filled", minilm, SETTINGS)) as opened:
        opened.upsert(CATALOGUE, row=0)
        yield opened


class TestVectorStore(EncoderContract):
    @pytest.fixture
    def retriever(self, filled):
        return filled


def test_it_finds_what_exact_search_in_memory_finds(filled):
    texts = [*TITLES, "scarlet glider", "kettle", ""]
    exact = build_index(CATALOGUE, SETTINGS).search(texts, 3)
    for ours, expected in zip(filled.search(texts, 3), exact, strict=True):
        assert [hit.row for hit in ours] == [hit.row for hit in expected]
        scores = [hit.score for hit in expected]
        assert [hit.score for hit in ours] == pytest.approx(scores, abs=1e-5)


def test_items_come_change_and_go_at_once(address, minilm):
    with closing(VectorStore.open(address, "changing", minilm, SETTINGS)) as opened:
        opened.upsert(CATALOGUE, row=0)
        assert len(opened) == len(TITLES)
        opened.upsert([Item("new", "Garden   hose")], row=len(TITLES))
        assert found(opened, "hose for the garden") == ("new", len(TITLES))
        opened.upsert([Item("new", "Soap")], row=len(TITLES))
        assert len(opened) == len(TITLES) + 2  # an entry for each of its titles
        assert found(opened, "soap") == ("new", len(TITLES))
        opened.upsert([Item("new", "Soap")], row=len(TITLES))
        assert len(opened) == len(TITLES) + 2
        opened.delete([Item("new", "Soap"), Item("never there", "Soap")])
        assert len(opened) == len(TITLES) + 1
        assert found(opened, "soap") != ("new", len(TITLES))


def found(opened: VectorStore, text: str) -> tuple[str, int]:
    ((hit,),) = opened.search([text], 1)
    return hit.item, hit.row


def test_what_was_put_in_is_there_when_it_is_opened_again(address, minilm):
    with closing(VectorStore.open(address, "again", minilm, SETTINGS)) as opened:
        opened.upsert(CATALOGUE, row=0)
    with closing(VectorStore.open(address, "again", minilm, SETTINGS)) as opened:
        assert found(opened, "Tea pot") == ("b4", 4)


def test_a_collection_is_bound_to_its_encoder_and_settings(address, minilm):
    VectorStore.open(address, "bound", minilm, SETTINGS).close()
    with pytest.raises(ArtifactError, match=r"bound in .* was filled by another encoder or with"):
        VectorStore.open(address, "bound", minilm, DenseSettings(marker=True))


def test_a_server_out_of_reach_is_one_line(minilm):
    pytest.importorskip("pymilvus", reason='needs the extra "store"')
    with pytest.raises(InputError, match=r"store http://127\.0\.0\.1:1 cannot be opened"):
        VectorStore.open("http://127.0.0.1:1", "any", minilm, SETTINGS)


def test_the_missing_extra_is_named(monkeypatch, minilm, tmp_path: Path):
    monkeypatch.setattr(store, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[store\]"'):
        VectorStore.open(str(tmp_path / "x.db"), "any", minilm, SETTINGS)


def test_a_missing_collection_is_made_only_when_asked_for(address, minilm):
    with pytest.raises(ArtifactError, match=r"holds no collection none: make the index again"):
        VectorStore.open(address, "none", minilm, SETTINGS, create=False)


@pytest.fixture
def stored(address) -> MilvusSettings:
    """The settings of an index whose vectors are in a collection of its own."""
    return MilvusSettings(address=address, collection=f"c{next(NUMBERS)}")


NUMBERS = count()


@pytest.fixture(scope="module")
def built(address, minilm) -> Retriever:
    settings = MilvusSettings(address=address, exact_first=False)
    return build_index(CATALOGUE, settings)


class TestStoredMilvus(EncoderContract):
    @pytest.fixture
    def retriever(self, built):
        return built


def test_an_index_in_a_store_finds_what_one_in_memory_finds(dataset, stored, tmp_path, minilm):
    save_index(dataset, tmp_path / "store", stored)
    save_index(dataset, tmp_path / "memory", DenseSettings())
    texts = ["Salt & Pepper", "tea for two", "mill", ""]
    memory = load_index(tmp_path / "memory").retriever.search(texts, 3)
    for ours, expected in zip(
        load_index(tmp_path / "store").retriever.search(texts, 3), memory, strict=True
    ):
        assert [hit[:2] for hit in ours] == [hit[:2] for hit in expected]
        assert [hit.score for hit in ours] == pytest.approx([h.score for h in expected], abs=1e-5)


def test_its_items_are_added_and_removed_in_place(dataset, stored, tmp_path, minilm):
    index = tmp_path / "index"
    save_index(dataset, index, stored)
    before = load_index(index)
    add_items(index, [Item("b7", "Garden&#39;s   hose"), Item("b8", "Tea pot")], index)
    remove_items(index, ["b1"], index)
    add_items(index, [Item("b9", "Tea pot")], index)
    after = load_index(index)
    assert [item.id for item in after.catalogue] == ["b2", "b3", "b7", "b8", "b9"]
    hose, pots = after.retriever.search(["hose for the garden", "Tea pot"], 3)
    assert (hose[0].item, hose[0].row) == ("b7", 2)
    assert [(hit.item, hit.row) for hit in pots] == [("b3", 1), ("b8", 3), ("b9", 4)]
    # The index as it was before knows neither the new items nor finds the one that is gone.
    (found,) = before.retriever.search(["pepper and tea in the garden"], 5)
    assert {hit.item for hit in found} == {"b2", "b3"}


def test_a_change_that_was_interrupted_can_be_made_again(dataset, stored, tmp_path, minilm):
    index = tmp_path / "index"
    save_index(dataset, index, stored)
    opened = load_index(index)
    opened.stored.store.upsert([Item("b7", "Soap")], row=3)  # and no index was written
    assert [hit.item for hit in load_index(index).retriever.search(["Soap"], 9)[0]] != ["b7"]
    add_items(index, [Item("b7", "Soap")], index)
    assert load_index(index).retriever.search(["Soap"], 1)[0][0].item == "b7"
    assert len(opened.stored.store) == 4


def test_its_items_cannot_change_elsewhere(dataset, stored, tmp_path, minilm):
    save_index(dataset, tmp_path / "index", stored)
    for change, items in ((add_items, [Item("b7", "Soap")]), (remove_items, ["b1"])):
        with pytest.raises(ConfigError, match=r"change in place: give --out .*index, not .*other"):
            change(tmp_path / "index", items, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert len(load_index(tmp_path / "index").stored.store) == 3


def test_an_index_made_again_replaces_what_its_collection_held(dataset, stored, tmp_path, minilm):
    save_index(dataset, tmp_path / "index", stored)
    add_items(tmp_path / "index", [Item("b7", "Soap")], tmp_path / "index")
    save_index(dataset, tmp_path / "index", stored)
    assert len(load_index(tmp_path / "index").stored.store) == 3


def test_without_an_address_there_is_no_index(dataset, tmp_path, minilm):
    pytest.importorskip("pymilvus", reason='needs the extra "store"')
    with pytest.raises(ConfigError, match=r"needs an address: http://HOST:19530 of a server, or"):
        save_index(dataset, tmp_path / "index", MilvusSettings())
    assert not (tmp_path / "index").exists()


def test_a_token_is_taken_from_the_environment_and_written_nowhere(
    dataset, stored, tmp_path, minilm, monkeypatch
):
    given = []
    opened = VectorStore.open.__func__

    def noting(cls, *arguments, token, **options):
        given.append(token)
        return opened(cls, *arguments, token=token, **options)

    monkeypatch.setattr(VectorStore, "open", classmethod(noting))
    monkeypatch.setenv(store.TOKEN_VARIABLE, "root:secret")
    save_index(dataset, tmp_path / "index", stored)
    assert given == ["root:secret"]
    written = b"".join(f.read_bytes() for f in (tmp_path / "index").iterdir())
    assert b"secret" not in written


def test_readers_of_one_collection_find_each_their_own_titles(dataset, stored, tmp_path, minilm):
    save_index(dataset, tmp_path / "index", stored)
    index = load_index(tmp_path / "index")
    pepper, _, pot = index.catalogue
    renamed = Catalogue([pepper, Item("b2", "Garden hose"), pot, Item("b4", "Soap")])
    changed = build_index(renamed, index.settings, previous=index.stored)
    texts = ["garden hose", "Pepper mill", "soap"]
    assert [hits[0].item for hits in changed.search(texts, 1)] == ["b2", "b1", "b4"]
    before = index.retriever.search(texts, 3)
    assert before[1][0].item == "b2"
    assert {hit.item for hits in before for hit in hits} == {"b1", "b2", "b3"}
    # Named again as it was: found as before, without having been put in again.
    again = build_index(
        index.catalogue,
        index.settings,
        times_bought=index.times_bought,
        previous=index.stored,
    )
    assert again.search(texts, 3) == index.retriever.search(texts, 3)


def test_it_searches_past_entries_of_other_readers(dataset, stored, tmp_path, minilm):
    save_index(dataset, tmp_path / "index", stored)
    index = load_index(tmp_path / "index")
    others = [Item(f"x{number}", "Tea pot") for number in range(100)]
    index.stored.store.upsert(others, row=3)
    ((hit, *_),) = index.stored.search(["Tea pot"], 3)
    assert (hit.item, hit.row) == ("b3", 2)
