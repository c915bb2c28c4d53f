"""Every ranker of the tuple keeps the contract."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from gloss.data.catalogue import Catalogue
from gloss.data.dataset import Dataset, PurchaseLog, prepare
from gloss.data.histories import History
from gloss.errors import ConfigError
from gloss.experiment import stages
from gloss.rankers.ranker import Ranker, RankerSpec, RankRequest
from gloss.rankers.sources import RankerSources
from gloss.rankers.specs import RANKERS, ranker_named
from gloss.retrieval.settings import DenseSettings
from gloss.testing.rankers import RankerContract
from preparing import save_dataset

TITLES = (
    *("red kite", "blue kite", "kite string", "wind sock", "red soap", "blue soap", "soap dish"),
    *("red towel", "bath towel", "frying pan", "iron pan", "olive oil", "camp stove", "red kite"),
)
SMALL = {
    "dual-encoder": {"epochs": 1, "batch_users": 8},
    "sasrec": {"epochs": 2, "width": 16, "networks": 2},
}
"""Settings for what would otherwise be trained for long."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """A user for each title, who begins with it and goes round, by steps of one or of three."""
    count = len(TITLES)
    bought = [
        (f"u{u}", f"b{(u + n * (1 + 2 * (u % 2))) % count}", n)
        for u in range(count)
        for n in range(3 + u % 4)
    ]
    items = pl.DataFrame({"item": [f"b{n}" for n in range(count)], "title": TITLES})
    log = pl.DataFrame(bought, schema=["user", "item", "time"], orient="row")
    folder = tmp_path_factory.mktemp("data") / "data"
    save_dataset(prepare(PurchaseLog(log, items, {}), split="leave-one-out"), folder)
    return Dataset.load(folder)


@pytest.fixture(scope="module")
def vectors(dataset, tmp_path_factory, minilm) -> Path:
    out = tmp_path_factory.mktemp("vectors") / "vectors"
    return stages.index(dataset.path, out, settings=DenseSettings()).path


@pytest.fixture
def catalogue(dataset) -> Catalogue:
    return dataset.catalogue("fair")


@pytest.fixture
def histories(dataset) -> Sequence[History]:
    return [History(each.user, each.history) for each in dataset.examples("test")]


@pytest.fixture(scope="module")
def ranker(spec, dataset, tmp_path_factory, request) -> Ranker:
    """A ranker of the tuple, trained where it has to be."""
    settings = spec.settings(**SMALL.get(spec.name, {}))
    reads_titles = spec.all_needs(settings) & {"title-vectors", "encoder"}
    folder = tmp_path_factory.mktemp("trained") / spec.name
    sources = RankerSources(
        dataset,
        "fair",
        vectors=request.getfixturevalue("vectors") if reads_titles else None,
        trained={spec.name: folder},
    )
    if spec.training:
        stages.train_ranker(spec, sources, folder, settings=settings, seed=0)
    return spec.build(sources, settings)


@pytest.fixture(
    scope="module",
    params=[spec for spec in RANKERS if spec.name not in ("popularity", "repeats")],
    ids=lambda spec: spec.name,
)
def spec(request) -> RankerSpec:
    return request.param


class TestRankersOfHistories(RankerContract):
    score_noise = 1e-4  # networks and matrix products round by the size of a batch


class TestPopularity(RankerContract):
    ranks_without_history = True

    @pytest.fixture
    def ranker(self, dataset) -> Ranker:
        spec = ranker_named("popularity")
        return spec.build(RankerSources(dataset, "fair"), spec.settings())


class TestRepeats(RankerContract):
    lists_bought_alone = True

    @pytest.fixture
    def ranker(self, dataset) -> Ranker:
        spec = ranker_named("repeats")
        return spec.build(RankerSources(dataset, "fair"), spec.settings())


def test_names_and_labels_are_distinct_and_found():
    assert len({spec.name for spec in RANKERS}) == len({spec.label for spec in RANKERS})
    assert [ranker_named(spec.name) for spec in RANKERS] == [*RANKERS]
    with pytest.raises(ConfigError, match=r"unknown ranker 'oracle' \(known: popularity, "):
        ranker_named("oracle")


def test_every_setting_of_a_ranker_is_described():
    for spec in RANKERS:
        for name, field in spec.settings.model_fields.items():
            assert field.description, f"{spec.name}: {name}"


@pytest.mark.parametrize("length", [0, -1])
def test_a_list_of_no_items_cannot_be_asked_for(length):
    with pytest.raises(ConfigError, match=f"at least 1 item, not {length}"):
        RankRequest((), length, exclude_seen=True)
