"""The vector store: embedded, and the same client against a server in another process."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gloss.data.catalogue import Item
from gloss.errors import ArtifactError, InputError, MissingExtraError
from gloss.retrieval.dense import milvus as store
from gloss.retrieval.dense.milvus import VectorStore
from gloss.retrieval.index import build_index
from gloss.retrieval.retriever import IndexSettings
from gloss.testing.catalogues import TITLES, catalogue_of
from gloss.testing.retrievers import EncoderContract

SETTINGS = IndexSettings(title_style="paper", retriever="dense", exact_first=False)
CATALOGUE = catalogue_of(TITLES)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    """A Milvus server that speaks gRPC, in a process of its own."""
    pytest.importorskip("milvus_lite", reason='needs the extra "store"')
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(folder)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], stdout=log, stderr=log
        )
        try:
            _wait_for(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("the server did not start")


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
        assert len(opened) == len(TITLES) + 1
        assert found(opened, "soap") == ("new", len(TITLES))
        opened.delete(["new", "never there"])
        assert len(opened) == len(TITLES)
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
        VectorStore.open(address, "bound", minilm, IndexSettings(marker=True))


def test_a_server_out_of_reach_is_one_line(minilm):
    pytest.importorskip("pymilvus", reason='needs the extra "store"')
    with pytest.raises(InputError, match=r"store http://127\.0\.0\.1:1 cannot be opened"):
        VectorStore.open("http://127.0.0.1:1", "any", minilm, SETTINGS)


def test_the_missing_extra_is_named(monkeypatch, minilm, tmp_path: Path):
    monkeypatch.setattr(store, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[store\]"'):
        VectorStore.open(str(tmp_path / "x.db"), "any", minilm, SETTINGS)
