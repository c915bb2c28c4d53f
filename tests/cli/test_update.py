"""`gloss update` as a shop calls it, day by day; and what a wrong call says."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from preparing import csv_items, csv_log, purchases, write
from processes import kill_until_done, visible_bytes

CONFIG = """
name: shop
data: {source: table, interactions: [log.csv], items: [items.csv]}
rankers: {use: [popularity, transitions, word-overlap]}
"""
LATER = 1_500_100_000
NEW_LOG = csv_log([("u1", "k9", LATER), ("u2", "k9", LATER), ("u2", "i0", LATER + 9)])
NEW_ITEMS = "item,title\nk9,Red kite tail\n"


@pytest.fixture
def shop(tmp_path, done) -> Path:
    """A folder with a bundle, what it was made of, and the files of the day after."""
    write(tmp_path / "log.csv", csv_log(purchases(8, 4)))
    write(tmp_path / "items.csv", csv_items())
    write(tmp_path / "shop.yaml", CONFIG)
    write(tmp_path / "new-log.csv", NEW_LOG)
    write(tmp_path / "new-items.csv", NEW_ITEMS)
    write(tmp_path / "gone.txt", "i3\n")
    done("fit", "shop.yaml", "--no-model", "-o", "bundle")
    return tmp_path


def test_the_day_after_new_items_are_shown_and_removed_ones_are_not(shop, done):
    news = ("--interactions", "new-log.csv", "--items", "new-items.csv")
    said = json.loads(done("update", "bundle", *news, "-o", "bundle", "--json").out)
    assert (said["items"], said["purchases"]) == (8 + 1, 8 * 4 + 3)
    assert said["parts"] == ["popularity", "transitions", "word-overlap"]
    done("update", "bundle", "--remove", "gone.txt", "-o", "smaller")
    asked = ("--history", "Red kite", "-k", "20", "--json")
    shown = [done("recommend", "-b", bundle, *asked).out for bundle in ("bundle", "smaller")]
    assert ["Red kite tail" in lists for lists in shown] == [True, True]
    assert ["Paper lantern, round" in lists for lists in shown] == [True, False]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ((), "nothing is new"),
        (("--retrain",), "it has no network among its rankers"),
        (("--interactions", "nowhere.csv"), "nowhere.csv does not exist"),
        (("--items", "new-log.csv"), "new-log.csv has no column 'title'"),
        (("--interactions", "new-items.csv"), "new-items.csv has no column 'user'"),
        (("--items", "untitled.csv"), "new items without a title"),
        (("--remove", "nobody.txt"), "cannot be removed: 'nobody'"),
        (("--remove", "gone.txt", "--data", "other"), "not the data set that the bundle"),
        (("--remove", "gone.txt", "--data", "bundle"), "bundle is of the kind 'bundle'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_call_says_so_in_one_line(shop, gloss, done, call, said):
    write(shop / "untitled.csv", "item,title\nk9,\n")
    write(shop / "nobody.txt", "nobody\n")
    if "other" in call:
        done("prepare", "shop", "--users", "20", "-o", "other")
    before = visible_bytes(shop)
    assert said in gloss("update", "bundle", *call, "-o", "updated").error
    assert visible_bytes(shop) == before


def test_a_run_is_no_bundle(shop, gloss):
    said = gloss("update", "bundle-parts/data", "--remove", "gone.txt", "-o", "updated")
    assert "dataset" in said.error


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_any_write_it_ends_with_the_same_bytes(shop, done, processes, seed):
    """Also where the new bundle takes the place of the old one."""
    news = ("--interactions", "new-log.csv", "--items", "new-items.csv", "--remove", "gone.txt")
    for copy in ("straight", "killed"):
        shutil.copytree(shop / "bundle", shop / copy)
        shutil.copytree(shop / "bundle-parts", shop / f"{copy}-parts")
    done("update", "straight", *news, "-o", "straight")
    call = ("update", shop / "killed", "-o", shop / "killed")
    files = ((flag, shop / name) for flag, name in zip(news[::2], news[1::2], strict=True))
    rng = random.Random(seed)
    kills = kill_until_done(
        processes, *call, *(w for pair in files for w in pair), rng=rng, writes=150
    )
    assert kills >= 1
    for beside in ("", "-data"):
        assert visible_bytes(shop / f"killed{beside}") == visible_bytes(shop / f"straight{beside}")
