"""The counts that the published system reports, reached on the real files."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gloss.data.dataset import Dataset, PreparedData, prepare
from gloss.data.readers.amazon import read_amazon
from preparing import save_dataset

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
    histories = data.histories.collect()
    users = histories["user"].to_list()
    assert users == sorted(users)
    drawn = random.Random(42).sample(users, int(0.05 * len(users)))
    assert set(histories.filter("held_out")["user"]) == set(drawn)
    assert len(drawn) == {"beauty": 1118, "toys": 970}[category]
    assert set(data.splits.validation.collect()["user"]) <= set(drawn)


def test_leave_one_out_asks_everybody_twice(data: PreparedData, category: str) -> None:
    other = prepare(read_amazon(category, SOURCE), split="leave-one-out")
    splits = other.splits
    train, validation, test = (
        part.collect() for part in (splits.train, splits.validation, splits.test)
    )
    assert validation.height == test.height == PUBLISHED[category]["test users"]
    assert test.equals(data.splits.test.collect())
    seen = {user: len(history) + 1 for user, history, _ in train.iter_rows()}
    assert all(len(history) == seen[user] + 1 for user, history, _ in test.iter_rows())


def test_saved_data_read_back_whole(data: PreparedData, tmp_path: Path) -> None:
    save_dataset(data, tmp_path / "data")
    dataset = Dataset.load(tmp_path / "data")
    histories = data.histories.collect()
    assert [(each.user, list(each.items)) for each in dataset.histories()] == list(
        histories.select("user", "items").iter_rows()
    )
    asked = [(each.user, list(each.history), each.target) for each in dataset.examples("test")]
    assert asked == data.splits.test.collect().rows()
    assert len(dataset.catalogue("paper")) == data.summary["catalogue"]
    titles = {item.title for item in dataset.catalogue("fair")}
    assert not any("&amp;" in title or "\n" in title for title in titles)
