"""`gloss update --state`: a bundle that learns what its service was told."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from preparing import csv_items, csv_log, purchases, write

if not find_spec("alembic"):
    pytest.skip("the extra serve lacks alembic", allow_module_level=True)

import polars as pl

from gloss.data.catalogue import ItemId
from gloss.data.dataset import Dataset
from gloss.errors import ConfigError
from gloss.serving.state.events import Event, EventLog
from gloss.serving.state.items import ItemChange, ItemChanges
from gloss.serving.state.news import news_of
from gloss.serving.state.store import open_database

CONFIG = """
name: shop
data: {source: table, interactions: [log.csv], items: [items.csv], user: who, columns: [price]}
rankers: {use: [popularity, transitions, word-overlap]}
"""
LATER = 1_500_100_000
FILES = ("--interactions", "log.csv", "--items", "items.csv")


@pytest.fixture
def shop(tmp_path, done) -> Path:
    """A folder with a bundle whose log names the user otherwise, and the state of its service."""
    write(tmp_path / "log.csv", csv_log(purchases(8, 4)).replace("user,", "who,", 1))
    lines = csv_items().splitlines()
    priced = [f"{lines[0]},price", *(f"{line},1.5" for line in lines[1:])]
    write(tmp_path / "items.csv", "\n".join(priced) + "\n")
    write(tmp_path / "shop.yaml", CONFIG)
    done("fit", "shop.yaml", "--no-model", "-o", "bundle")
    engine = open_database(str(tmp_path / "state.db"))
    ItemChanges(engine).put(
        [
            ItemChange(ItemId("k9"), title="Red kite tail", columns={"price": 2.5}),
            ItemChange(ItemId("i1"), hidden=True),
            ItemChange(ItemId("i2"), title="Another title", columns={"price": 9.0}),
            ItemChange(ItemId("i3"), removed=True),
            ItemChange(ItemId("z1"), title="Gone again", removed=True),
        ]
    )
    EventLog(engine).add(
        [
            Event("1", "u1", "k9", LATER * 1000 + 999),
            Event("2", "u2", "i0", LATER * 1000),
            Event("3", "u0", "i0", 1_500_000_000 * 1000),  # the log's first purchase
            Event("4", "u1", "nothing that is known", LATER * 1000),
        ]
    )
    engine.dispose()
    return tmp_path


def sold(dataset: Path) -> dict[str, int]:
    log = Dataset.load(dataset).log().interactions.lazy().collect()
    return dict(log["item"].value_counts().rows())


def test_purchases_and_items_of_the_state_are_the_bundles_once(shop, done):
    before = sold(shop / "bundle-parts" / "data")
    said = json.loads(done("update", "bundle", "--state", "state.db", "-o", "bundle", "--json").out)
    assert said["items"] == 8 + 1 - 1
    after = sold(shop / "bundle-data")
    expected = {item: count for item, count in before.items() if item != "i3"}
    assert after == {**expected, "i0": before["i0"] + 1, "k9": 1}
    catalogue = {item.id: item for item in Dataset.load(shop / "bundle-data").catalogue("fair")}
    assert (catalogue["k9"].title, catalogue["k9"].columns["price"]) == ("Red kite tail", 2.5)
    assert (catalogue["i2"].title, catalogue["i2"].columns["price"]) == (
        "Wooden train set",
        9.0,
    )
    assert not (shop / "bundle-news").exists()
    done("update", "bundle", "--state", "state.db", "-o", "bundle")
    assert sold(shop / "bundle-data") == after


def test_what_is_bought_since_comes_with_the_next_update(shop, done):
    done("update", "bundle", "--state", "state.db", "-o", "bundle")
    before = sold(shop / "bundle-data")
    engine = open_database(str(shop / "state.db"))
    EventLog(engine).add([Event("5", "u3", "k9", (LATER + 60) * 1000)])
    engine.dispose()
    done("update", "bundle", "--state", "state.db", "-o", "bundle")
    assert sold(shop / "bundle-data") == {**before, "k9": before["k9"] + 1}


def test_an_update_that_was_killed_is_ended_with_what_it_began_with(shop, done):
    """Killed between the two parts: the data set has grown, the bundle has not."""
    shutil.copytree(shop / "bundle", shop / "kept")
    engine = open_database(str(shop / "state.db"))
    dataset = Dataset.load(shop / "bundle-parts" / "data")
    news_of(engine, dataset, shop / "bundle-news")
    shutil.copytree(shop / "bundle-news", shop / "news")
    done("update", "bundle", "--state", "state.db", "-o", "bundle")
    grown = sold(shop / "bundle-data")
    shutil.rmtree(shop / "bundle")
    (shop / "kept").rename(shop / "bundle")
    (shop / "news").rename(shop / "bundle-news")
    EventLog(engine).add([Event("5", "u3", "k9", (LATER + 60) * 1000)])
    engine.dispose()
    said = done("update", "bundle", "--state", "state.db", "-o", "bundle")
    assert "what came since comes with the next one" in said.err
    assert sold(shop / "bundle-data") == grown
    done("update", "bundle", "--state", "state.db", "-o", "bundle")
    assert sold(shop / "bundle-data")["k9"] == grown["k9"] + 1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("--state", "nowhere.db"), "there is no state nowhere.db"),
        (("--state", "state.db", "--remove", "gone.txt"), "remove items at the service"),
        (("--state", "state.db", "--data", "bundle"), "bundle is of the kind 'bundle'"),
    ],
)
def test_a_wrong_call_says_so_and_leaves_nothing(shop, gloss, call, said):
    assert said in gloss("update", "bundle", *call, "-o", "updated").error
    assert not list(shop.glob("*news*"))
    assert not (shop / "nowhere.db").exists()


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([1_500_000_000], LATER),
        ([1_500_000_000_000], LATER * 1000 + 7),
        (["2017-07-14"], (LATER * 1000 + 7) * 1000),
    ],
    ids=["seconds", "milliseconds", "dates"],
)
def test_times_are_in_the_data_sets_unit(tmp_path, done, times, expected):
    rows = [(f"u{n}", f"i{n}", time) for n, time in enumerate(times * 3)]
    write(tmp_path / "log.csv", csv_log(rows))
    write(tmp_path / "items.csv", csv_items())
    done("prepare", "table", *FILES, "--split", "none", "-o", "data")
    engine = open_database(str(tmp_path / "state.db"))
    EventLog(engine).add([Event("1", "u", "i0", LATER * 1000 + 7)])
    news = news_of(engine, Dataset.load(tmp_path / "data"), tmp_path / "news")
    engine.dispose()
    (file,) = news.interactions
    assert pl.read_parquet(file).to_dicts() == [{"user": "u", "item": "i0", "time": expected}]


def test_a_log_whose_times_are_no_dates_is_refused(tmp_path, done):
    write(tmp_path / "log.csv", csv_log([("u", "i0", 1), ("u", "i1", 2)]))
    write(tmp_path / "items.csv", csv_items())
    done("prepare", "table", *FILES, "--split", "none", "-o", "data")
    engine = open_database(str(tmp_path / "state.db"))
    EventLog(engine).add([Event("1", "u", "i0", LATER * 1000)])
    with pytest.raises(ConfigError, match="the times of the data set are no dates"):
        news_of(engine, Dataset.load(tmp_path / "data"), tmp_path / "news")
    engine.dispose()
    assert not (tmp_path / "news").exists()
