"""A data set and what has happened since: both together are what their joined log gives."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from gloss.artifacts import open_artifact
from gloss.data.dataset import KIND, Dataset
from gloss.errors import ArtifactError, ConfigError, GlossError, InputError
from gloss.experiment import stages
from preparing import (
    TITLES,
    bought,
    csv_items,
    csv_log,
    histories,
    prepared,
    purchases,
    titles,
    write,
)

LATER = 1_500_100_000
FILES = ("catalogue.parquet", "histories.parquet", "train.parquet")


@pytest.fixture
def old(tmp_path) -> Dataset:
    """Four users who bought four things each."""
    log = write(tmp_path / "log.csv", csv_log(purchases()))
    items = write(tmp_path / "items.csv", csv_items())
    return prepared(tmp_path / "old", str(log), str(items))


def joined(old: Dataset, folder: Path, *, log="", items="", removed="") -> Dataset:
    """The data set joined with files of these contents."""
    named = {}
    if log:
        named["interactions"] = [str(write(folder / "new-log.csv", log))]
    if items:
        named["items"] = [str(write(folder / "new-items.csv", items))]
    if removed:
        named["removed"] = write(folder / "removed.txt", removed)
    made = stages.join(old.path, folder / "joined", fingerprint=old.fingerprint, **named)
    return Dataset.load(made.path)


def frames(data: Dataset) -> list[pl.DataFrame]:
    return [pl.read_parquet(data.path / name) for name in FILES]


NEW_LOG = [
    ("u1", "k9", LATER),
    ("u7", "i2", LATER + 5),
    ("u7", "k9", LATER + 3),  # before the one above
    ("u0", "i5", 1_500_000_030),  # between purchases that the data set has
]
NEW_ITEMS = "item,title\nk9,Kite tail\nk8,Box kite\n"


def test_what_is_joined_is_what_the_joined_log_gives(old, tmp_path):
    found = joined(old, tmp_path, log=csv_log(NEW_LOG), items=NEW_ITEMS)
    log = write(tmp_path / "whole.csv", csv_log([*purchases(), *NEW_LOG]))
    items = write(tmp_path / "all-items.csv", csv_items() + NEW_ITEMS.partition("\n")[2])
    expected = prepared(tmp_path / "whole", str(log), str(items), split="none")
    for ours, theirs in zip(frames(found), frames(expected), strict=True):
        assert ours.equals(theirs)
    assert bought(found)["u0"] == ("i0", "i5", "i1", "i2", "i3")
    assert bought(found)["u7"] == ("k9", "i2")
    assert found.fingerprint == expected.fingerprint


def test_a_log_that_begins_before_the_other_ends_counts_nothing_twice(old, tmp_path):
    again = joined(old, tmp_path, log=csv_log([*purchases(), ("u0", "i6", LATER)]))
    assert bought(again) == {**histories(), "u0": (*histories()["u0"], "i6")}
    assert again.summary["purchases known already"] == 4 * 4
    assert again.summary["new purchases"] == 1


def test_rows_in_order_follow_those_that_are_there(tmp_path):
    rows = [(user, item, 0) for user, item, _ in purchases()]
    log = write(tmp_path / "log.csv", csv_log(rows))
    items = write(tmp_path / "items.csv", csv_items())
    old = prepared(tmp_path / "old", str(log), str(items), time=None)
    found = joined(old, tmp_path, log="user,item\nu0,i0\nu9,i1\n")
    assert bought(found) == {**histories(), "u0": (*histories()["u0"], "i0"), "u9": ("i1",)}


def test_removed_items_and_their_purchases_are_gone(old, tmp_path):
    found = joined(old, tmp_path, removed="i2\n\n i7 \n")
    assert titles(found) == [title for n, title in enumerate(TITLES) if n not in (2, 7)]
    left = {user: tuple(i for i in items if i != "i2") for user, items in histories().items()}
    assert bought(found) == left
    assert found.summary["removed items"] == 2


def test_items_that_are_known_keep_their_title_and_get_new_columns(tmp_path):
    log = write(tmp_path / "log.csv", csv_log(purchases()))
    items = "item,title,price\n" + "".join(f'i{n},"{t}",{n}.5\n' for n, t in enumerate(TITLES))
    old = prepared(
        tmp_path / "old", str(log), str(write(tmp_path / "items.csv", items)), columns=["price"]
    )
    new = "item,title,price\ni1,Blue kite (new),99\nk9,Kite tail,7\n"
    found = joined(old, tmp_path, items=new).catalogue("fair")
    assert [found.title(item) for item in ("i1", "k9")] == ["Blue kite", "Kite tail"]
    prices = {item.id: item.columns["price"] for item in found}
    assert (prices["i0"], prices["i1"], prices["k9"]) == (0.5, 99, 7)


def test_a_second_try_finds_what_the_first_has_made(old, tmp_path):
    log = str(write(tmp_path / "new.csv", csv_log(NEW_LOG)))
    fingerprint = old.fingerprint
    first = stages.join(old.path, old.path, fingerprint=fingerprint, interactions=[log])
    written = (old.path / "manifest.json").stat().st_mtime_ns
    again = stages.join(old.path, old.path, fingerprint=fingerprint, interactions=[log])
    assert first.fingerprint == again.fingerprint
    assert (old.path / "manifest.json").stat().st_mtime_ns == written
    assert open_artifact(old.path, KIND).config["split"] == "none"


@pytest.mark.parametrize(
    ("new", "error", "said"),
    [
        ({"log": "user,thing,time\nu1,i1,1\n"}, InputError, "item"),
        ({"items": "item,name\nk9,Kite tail\n"}, InputError, "title"),
        ({"items": "item,title\nk9,\nk8,Box kite\n"}, InputError, "without a title.*'k9'"),
        ({"removed": "i2\nnobody\n"}, InputError, "cannot be removed: 'nobody'"),
        ({"removed": "k9\n", "items": NEW_ITEMS}, InputError, "among the new items: 'k9'"),
        ({"log": csv_log([("u1", "x1", LATER)])}, InputError, "no new purchase .*'x1'.*'i0', 'i1'"),
        ({"log": csv_log([("u1", "i1", 20_000)])}, InputError, "older than .* data set"),
    ],
)
def test_what_cannot_be_joined_is_said_in_one_line(old, tmp_path, new, error, said):
    with pytest.raises(error, match=said) as raised:
        joined(old, tmp_path, **new)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, GlossError)
    assert not (tmp_path / "joined").exists()


def test_many_new_purchases_of_unknown_items_are_warned_of(old, tmp_path, caplog):
    log = csv_log([("u1", "i1", LATER), ("u1", "x1", LATER + 1)])
    assert bought(joined(old, tmp_path, log=log))["u1"] == (*histories()["u1"], "i1")
    assert "50.0% of the new purchases name items that the catalogue lacks" in caplog.text


def test_another_data_set_is_refused(old, tmp_path):
    with pytest.raises(ArtifactError, match="not the data set that the bundle was made of"):
        stages.join(old.path, tmp_path / "joined", fingerprint="0" * 64)


def test_a_data_set_that_left_purchases_out_cannot_grow(tmp_path):
    log = write(tmp_path / "log.csv", csv_log(purchases()))
    items = write(tmp_path / "items.csv", csv_items())
    old = prepared(tmp_path / "old", str(log), str(items), min_purchases=2)
    with pytest.raises(ConfigError, match=r"min_purchases.*gloss fit"):
        joined(old, tmp_path, log=csv_log(NEW_LOG))
