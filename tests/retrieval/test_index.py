from __future__ import annotations

import shutil

import numpy as np
import pytest

from gloss.artifacts import MANIFEST, Recipe
from gloss.errors import ArtifactError, ConfigError
from gloss.retrieval.index import KIND, build_index, load_index
from gloss.retrieval.settings import BM25Settings, DenseSettings, HybridSettings
from preparing import save_index


@pytest.mark.parametrize(
    "settings",
    [
        BM25Settings(),
        BM25Settings(title_style="paper", marker=True, exact_first=False),
        DenseSettings(),
        DenseSettings(title_style="paper", marker=True, prefixes=False),
        DenseSettings(neighbours="hnsw"),
        HybridSettings(),
        HybridSettings(fusion="weighted", weight=0.8),
    ],
    ids=["fair", "paper", "dense", "dense-paper", "hnsw", "hybrid", "weighted"],
)
def test_a_saved_index_finds_what_it_found_before(dataset, tmp_path, settings, minilm):
    save_index(dataset, tmp_path / "index", settings)
    index = load_index(tmp_path / "index")
    catalogue = dataset.catalogue(settings.title_style)
    texts = ["Salt & Pepper", "tea pepper", "amp", "xyzzy", ""]
    assert index.retriever.search(texts, 3) == build_index(catalogue, settings).search(texts, 3)
    assert index.settings == settings
    assert index.catalogue.items == catalogue.items


def test_an_index_knows_the_data_set_and_the_catalogue_it_was_made_from(dataset, tmp_path):
    save_index(dataset, tmp_path / "index", BM25Settings())
    index = load_index(tmp_path / "index")
    assert index.artifact.inputs == {"dataset": dataset.fingerprint}
    assert index.artifact.config["title_style"] == "fair"
    assert index.artifact.summary == {
        "items": 3,
        "catalogue": dataset.catalogue("fair").fingerprint,
    }
    assert index.fingerprint == index.artifact.fingerprint


def test_equal_work_gives_equal_bytes(dataset, tmp_path):
    for name in ("one", "two"):
        save_index(dataset, tmp_path / name, BM25Settings())
    assert load_index(tmp_path / "one").fingerprint == load_index(tmp_path / "two").fingerprint


def test_other_title_styles_give_other_indexes(dataset, tmp_path):
    for style in ("paper", "fair"):
        save_index(dataset, tmp_path / style, BM25Settings(title_style=style))
    paper, fair = load_index(tmp_path / "paper"), load_index(tmp_path / "fair")
    assert paper.catalogue.title("b1") == "Salt &amp; Pepper"
    assert fair.catalogue.title("b1") == "Salt & Pepper"
    assert paper.fingerprint != fair.fingerprint


def test_a_damaged_index_names_the_file(dataset, tmp_path):
    save_index(dataset, tmp_path / "index", BM25Settings())
    (tmp_path / "index" / "data.npy").unlink()
    with pytest.raises(ArtifactError, match=r"data\.npy is missing"):
        load_index(tmp_path / "index")


def test_an_index_of_another_version_names_the_settings_that_differ(dataset, tmp_path):
    old = {"retriever": "hybrid", "title_style": "fair", "blend": "rrf", "weight": 0.5}
    with Recipe(KIND, old, {}).draft(tmp_path / "index") as draft:
        draft.write_json("vocabulary.json", {})
    said = r"\(settings of another version of GLoSS: blend\): make it again with gloss index"
    with pytest.raises(ArtifactError, match=said):
        load_index(tmp_path / "index")


def test_a_data_set_is_not_an_index(dataset):
    with pytest.raises(ArtifactError, match=r"of the kind .dataset., not .index."):
        load_index(dataset.path)


DENSE = DenseSettings()


def test_an_index_by_meaning_is_bound_to_its_encoder(dataset, tmp_path, minilm):
    folder = tmp_path / "encoder"
    shutil.copytree(minilm.folder, folder)
    save_index(dataset, tmp_path / "index", DENSE.model_copy(update={"encoder": str(folder)}))
    index = load_index(tmp_path / "index")
    assert index.artifact.inputs == {
        "dataset": dataset.fingerprint,
        "encoder": minilm.fingerprint,
    }
    with (folder / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(ArtifactError, match=r"made from another encoder .* than the encoder "):
        load_index(tmp_path / "index")
    shutil.rmtree(folder)
    with pytest.raises(ConfigError, match=r"no encoder .*encoder"):
        load_index(tmp_path / "index")


@pytest.mark.parametrize("name", ["vectors.npy", "catalogue.parquet"])
def test_a_truncated_or_flipped_index_by_meaning_names_the_file(dataset, tmp_path, minilm, name):
    save_index(dataset, tmp_path / "index", DENSE)
    file = tmp_path / "index" / name
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    said = f"{name} is damaged: {len(whole) - 1} bytes instead of {len(whole)}"
    with pytest.raises(ArtifactError, match=said):
        load_index(tmp_path / "index")
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ArtifactError, match=f"{name} is damaged: its content is not what"):
        load_index(tmp_path / "index")
    file.write_bytes(whole)
    (tmp_path / "index" / MANIFEST).unlink()
    with pytest.raises(ArtifactError, match="is not a whole artefact"):
        load_index(tmp_path / "index")


def test_an_index_by_meaning_holds_no_pickle(dataset, tmp_path, minilm):
    save_index(dataset, tmp_path / "index", DENSE)
    vectors = np.load(tmp_path / "index" / "vectors.npy", allow_pickle=False)
    assert (vectors.dtype, vectors.shape) == (np.float32, (3, 384))
