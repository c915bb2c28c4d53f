import polars as pl
import pytest

from gloss.data.dataset import Dataset, PurchaseLog, prepare, save
from gloss.errors import ArtifactError
from gloss.retrieval.index import IndexSettings
from gloss.retrieval.indexing import build_index, load_index, save_index

TITLES = {"b1": "Salt &amp; Pepper", "b2": "Pepper mill", "b3": "Tea pot"}


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    bought = [(user, item, time) for user in "uv" for time, item in enumerate(TITLES)]
    log = PurchaseLog(
        pl.DataFrame(bought, schema=["user", "item", "time"], orient="row"),
        pl.DataFrame({"item": list(TITLES), "title": list(TITLES.values())}),
        {},
    )
    save(prepare(log, split="paper"), tmp_path / "data", config={})
    return Dataset.load(tmp_path / "data")


@pytest.mark.parametrize(
    "settings",
    [IndexSettings(), IndexSettings(title_style="paper", marker=True, exact_first=False)],
    ids=["fair", "paper"],
)
def test_a_saved_index_finds_what_it_found_before(dataset, tmp_path, settings):
    save_index(dataset, tmp_path / "index", settings)
    index = load_index(tmp_path / "index")
    catalogue = dataset.catalogue(settings.title_style)
    texts = ["Salt & Pepper", "tea pepper", "amp", "xyzzy", ""]
    assert index.retriever.search(texts, 3) == build_index(catalogue, settings).search(texts, 3)
    assert index.settings == settings
    assert index.catalogue.items == catalogue.items


def test_an_index_knows_the_data_set_and_the_catalogue_it_was_made_from(dataset, tmp_path):
    save_index(dataset, tmp_path / "index", IndexSettings())
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
        save_index(dataset, tmp_path / name, IndexSettings())
    assert load_index(tmp_path / "one").fingerprint == load_index(tmp_path / "two").fingerprint


def test_other_title_styles_give_other_indexes(dataset, tmp_path):
    for style in ("paper", "fair"):
        save_index(dataset, tmp_path / style, IndexSettings(title_style=style))
    paper, fair = load_index(tmp_path / "paper"), load_index(tmp_path / "fair")
    assert paper.catalogue.title("b1") == "Salt &amp; Pepper"
    assert fair.catalogue.title("b1") == "Salt & Pepper"
    assert paper.fingerprint != fair.fingerprint


def test_a_damaged_index_names_the_file(dataset, tmp_path):
    save_index(dataset, tmp_path / "index", IndexSettings())
    (tmp_path / "index" / "data.npy").unlink()
    with pytest.raises(ArtifactError, match=r"data\.npy is missing"):
        load_index(tmp_path / "index")


def test_a_data_set_is_not_an_index(dataset):
    with pytest.raises(ArtifactError, match=r"of the kind .dataset., not .index."):
        load_index(dataset.path)
