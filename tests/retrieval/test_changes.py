from __future__ import annotations

import pytest

from gloss.data.catalogue import Item
from gloss.errors import ArtifactError, InputError
from gloss.retrieval.changes import add_items, remove_items
from gloss.retrieval.dense.retriever import TitleVectors
from gloss.retrieval.index import build_index, load_index
from gloss.retrieval.settings import BM25Settings, DenseSettings, HybridSettings
from preparing import save_index

SETTINGS = {
    "bm25": BM25Settings(),
    "dense": DenseSettings(),
    "hybrid": HybridSettings(),
    "hnsw": DenseSettings(neighbours="hnsw"),
}
NEW = [Item("b7", "Garden&#39;s   hose"), Item("b8", "Tea pot")]


@pytest.fixture(params=SETTINGS)
def index(request, dataset, tmp_path, minilm):
    if request.param == "hnsw":
        pytest.importorskip("faiss", reason='needs the extra "faiss"')
    path = tmp_path / "index"
    save_index(dataset, path, SETTINGS[request.param])
    return path


def first(path, text: str) -> str:
    (hits,) = load_index(path).retriever.search([text], 1)
    return hits[0].item


def test_a_new_item_is_found_at_once_and_what_stood_stays(index, tmp_path):
    before = load_index(index)
    add_items(index, NEW, tmp_path / "more")
    after = load_index(tmp_path / "more")
    assert after.catalogue.items[:3] == before.catalogue.items
    assert after.catalogue.title("b7") == "Garden's hose"
    assert first(tmp_path / "more", "hose for the garden") == "b7"
    hits, *_ = after.retriever.search(["Tea pot"], 2)
    assert [hit.item for hit in hits] == ["b3", "b8"]


def test_a_changed_index_is_one_built_from_the_changed_catalogue(index, tmp_path):
    add_items(index, NEW, tmp_path / "more")
    remove_items(tmp_path / "more", ["b2", "b8"], tmp_path / "fewer")
    changed = load_index(tmp_path / "fewer")
    assert [item.id for item in changed.catalogue] == ["b1", "b3", "b7"]
    built = build_index(changed.catalogue, changed.settings)
    for ours, new in zip(
        changed.retriever.search(["pepper", "Tea pot", "hose", ""], 3),
        built.search(["pepper", "Tea pot", "hose", ""], 3),
        strict=True,
    ):
        assert [hit.row for hit in ours] == [hit.row for hit in new]
        assert [hit.score for hit in ours] == pytest.approx([hit.score for hit in new], abs=1e-6)


def test_only_new_titles_are_encoded(dataset, tmp_path, minilm, monkeypatch):
    save_index(dataset, tmp_path / "index", SETTINGS["dense"])
    asked = []
    encode = TitleVectors._encode

    def spy(self, texts, *others):
        asked.extend(texts)
        return encode(self, texts, *others)

    monkeypatch.setattr(TitleVectors, "_encode", spy)
    add_items(tmp_path / "index", NEW, tmp_path / "index")
    remove_items(tmp_path / "index", ["b1"], tmp_path / "index")
    assert asked == ["Garden's hose"]


def test_the_old_index_may_be_replaced(index):
    old = load_index(index).fingerprint
    add_items(index, NEW, index)
    new = load_index(index).artifact
    assert new.inputs["index"] == old
    assert new.summary["items"] == 5


def test_what_is_there_cannot_be_added_nor_what_is_not_removed(index, tmp_path):
    with pytest.raises(InputError, match=r"already in .*index: b3$"):
        add_items(index, [*NEW, Item("b3", "Tea pot")], tmp_path / "more")
    with pytest.raises(InputError, match=r"not in .*index: b7, b8$"):
        remove_items(index, ["b1", "b7", "b8"], tmp_path / "fewer")
    with pytest.raises(InputError, match="twice"):
        add_items(index, [NEW[0], NEW[0]], tmp_path / "more")
    with pytest.raises(InputError, match="the catalogue is empty"):
        remove_items(index, ["b1", "b2", "b3"], tmp_path / "fewer")
    with pytest.raises(ArtifactError, match="does not exist"):
        add_items(tmp_path / "none", NEW, tmp_path / "more")
    assert not (tmp_path / "more").exists()
    assert not (tmp_path / "fewer").exists()
