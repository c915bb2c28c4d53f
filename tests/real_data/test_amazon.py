"""The counts that the published system reports, reached on the real files."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gloss.data.amazon import read_amazon
from gloss.data.dataset import Dataset, PreparedData, prepare, save
from gloss.data.splits import validation_users

SOURCE = Path(__file__).parents[2] / ".." / "shared" / "data" / "amazon2014"

pytestmark = pytest.mark.skipif(
    not SOURCE.is_dir(), reason="the real data are not at ../shared/data/amazon2014"
)


@pytest.fixture(scope="module", params=["beauty", "toys"])
def category(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def data(category: str) -> PreparedData:
    return prepare(read_amazon(category, SOURCE), split="paper")


PUBLISHED = {
    "beauty": {
        "review lines": 198_502,
        "metadata lines": 12_101,
        "items without a title": 7,
        "users": 22_363,
        "purchases": 198_371,
        "test users": 22_363,
        "catalogue": 12_094,
        "validation users": int(0.05 * 22_363),
        "bad lines": 0,
    },
    "toys": {
        "review lines": 167_597,
        "metadata lines": 11_924,
        "items without a title": 59,
        "users": 19_406,
        "purchases": 166_757,
        "test users": 19_395,
        "catalogue": 11_865,
        "validation users": 969,
        "bad lines": 0,
    },
}


def test_counts_are_the_published_ones(category: str, data: PreparedData) -> None:
    published = PUBLISHED[category]
    assert {name: data.summary[name] for name in published} == published


def test_validation_users_are_the_published_draw(category: str, data: PreparedData) -> None:
    users = [history.user for history in data.histories]
    assert users == sorted(users)
    drawn = random.Random(42).sample(users, int(0.05 * len(users)))
    assert validation_users(users) == set(drawn)
    assert len(drawn) == {"beauty": 1118, "toys": 970}[category]
    assert {asked.user for asked in data.splits.validation} <= set(drawn)


def test_leave_one_out_asks_everybody_twice(data: PreparedData, category: str) -> None:
    splits = prepare(read_amazon(category, SOURCE), split="leave-one-out").splits
    assert len(splits.validation) == len(splits.test) == PUBLISHED[category]["test users"]
    assert splits.test == data.splits.test
    seen = {entry.user: len(entry.items) for entry in splits.train}
    assert all(len(asked.history) == seen[asked.user] + 1 for asked in splits.test)


def test_saved_data_read_back_whole(data: PreparedData, tmp_path: Path) -> None:
    save(data, tmp_path / "data", config={})
    dataset = Dataset.load(tmp_path / "data")
    assert dataset.histories() == data.histories
    assert dataset.examples("test") == data.splits.test
    assert len(dataset.catalogue("paper")) == data.summary["catalogue"]
    titles = {item.title for item in dataset.catalogue("fair")}
    assert not any("&amp;" in title or "\n" in title for title in titles)
