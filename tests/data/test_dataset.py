from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gloss.config import ShopData
from gloss.data.dataset import Cleaning, Dataset, PreparedData, PurchaseLog, prepare
from gloss.data.histories import Example
from gloss.data.history_rows import HistoryRows
from gloss.data.readers.amazon import read_amazon
from gloss.errors import ArtifactError, InputError
from gloss.experiment import stages
from preparing import save_dataset

Row = tuple[str, str, int]


def log_of(rows: list[Row], titles: list[tuple[str, str | None]] | None = None) -> PurchaseLog:
    items = titles or [(item, f"title {item}") for item in sorted({row[1] for row in rows})]
    return PurchaseLog(
        pl.DataFrame(
            rows, schema={"user": pl.String, "item": pl.String, "time": pl.Int64}, orient="row"
        ),
        pl.DataFrame(items, schema={"item": pl.String, "title": pl.String}, orient="row"),
        {"lines": len(rows)},
    )


def bought(data: PreparedData) -> dict[str, tuple[str, ...]]:
    rows = data.histories.select("user", "items").collect().iter_rows()
    return {user: tuple(items) for user, items in rows}


USERS = {"u1": "abcd", "u2": "bcd", "u3": "ab"}
LOG = [(user, item, place) for user, items in USERS.items() for place, item in enumerate(items)]


def test_sequences_go_by_user_then_time_and_ties_keep_the_order_of_the_file() -> None:
    rows = [("v", "a", 2), ("u", "a", 5), ("v", "b", 1), ("u", "c", 5), ("u", "b", 5)]
    data = prepare(log_of(rows), split="paper")
    assert bought(data) == {"u": ("a", "c", "b"), "v": ("b", "a")}
    assert list(bought(data)) == ["u", "v"]


def test_users_are_in_the_order_of_code_points() -> None:
    rows = [(user, "a", 0) for user in ("é", "a10", "Z", "a9", "\U0001f600", "\uffff")]
    assert list(bought(prepare(log_of(rows), split="paper"))) == sorted(row[0] for row in rows)


def test_histories_as_rows_are_those_of_the_objects_batch_after_batch(
    tmp_path, monkeypatch
) -> None:
    save_dataset(prepare(log_of(LOG), split="paper"), tmp_path / "data")
    monkeypatch.setattr("gloss.data.dataset._BATCH_USERS", 2)
    dataset = Dataset.load(tmp_path / "data")
    found = dataset.train_rows()
    expected = HistoryRows.of(dataset.train(), dataset.catalogue("fair"))
    assert found.rows.tolist() == expected.rows.tolist()
    assert found.lengths.tolist() == expected.lengths.tolist() == [3, 2, 1]
    assert dataset.times_bought().tolist() == [2, 2, 2, 0]  # of a b c, b c and a


def test_repeats_are_kept() -> None:
    rows = [("u", "a", 1), ("u", "a", 2), ("u", "a", 2)]
    assert bought(prepare(log_of(rows), split="paper")) == {"u": ("a", "a", "a")}


def test_untitled_items_leave_catalogue_and_histories_and_are_counted() -> None:
    rows = [*LOG, ("u4", "b", 0), ("u5", "absent", 0)]
    titles = [("a", "A"), ("b", None), ("c", ""), ("d", "D")]
    data = prepare(log_of(rows, titles), split="paper")
    assert data.items.rows() == [("a", "A"), ("c", ""), ("d", "D")]
    assert bought(data) == {"u1": ("a", "c", "d"), "u2": ("c", "d"), "u3": ("a",)}
    assert data.summary["items without a title"] == 1
    assert data.summary["purchases of items without a title"] == 5
    assert data.summary["users left without a purchase"] == 2
    assert data.summary["users with too few items"] == 2
    assert data.summary["test users"] == 1
    assert data.summary["lines"] == 11


def test_of_an_item_that_stands_twice_the_first_title_counts() -> None:
    titles = [("a", None), ("a", "First"), ("a", "Second"), ("b", "B"), ("b", "B")]
    data = prepare(log_of([("u", "a", 1), ("u", "b", 2)], titles), split="paper")
    assert data.items.rows() == [("a", "First"), ("b", "B")]
    assert data.summary["duplicate items"] == 2
    assert data.summary["duplicate items with different titles"] == 1
    assert data.summary["items without a title"] == 0


def test_items_nobody_bought_stay_only_when_asked_for() -> None:
    titles = [("z", "Z"), ("a", "A")]
    log = log_of([("u", "a", 1)], titles)
    assert prepare(log, split="paper").items.rows() == [("a", "A")]
    assert prepare(log, split="paper", cleaning=Cleaning(keep_unbought=True)).items.rows() == titles


@pytest.mark.parametrize("titles", [[("a", None)], [("b", "B")]])
def test_nothing_left_is_an_input_error(titles: list[tuple[str, str | None]]) -> None:
    with pytest.raises(InputError, match="nothing is left"):
        prepare(log_of([("u", "a", 1)], titles), split="paper")


PURCHASES = st.lists(
    st.tuples(st.sampled_from("uvwxyz"), st.sampled_from("abcdef"), st.integers(0, 3)),
    min_size=1,
    max_size=60,
)


@settings(deadline=None, max_examples=50)
@given(PURCHASES)
def test_histories_are_a_stable_sort_of_the_log(rows: list[Row]) -> None:
    expected: dict[str, tuple[str, ...]] = {}
    for user, item, _ in sorted(rows, key=lambda row: (row[0], row[2])):
        expected[user] = (*expected.get(user, ()), item)
    assert bought(prepare(log_of(rows), split="paper")) == expected


@settings(deadline=None, max_examples=50)
@given(PURCHASES, st.integers(0, 4))
def test_in_a_k_core_everybody_and_everything_has_k_purchases(rows: list[Row], k: int) -> None:
    kept = list(rows)
    while True:
        users, items = Counter(row[0] for row in kept), Counter(row[1] for row in kept)
        left = [row for row in kept if users[row[0]] >= k and items[row[1]] >= k]
        if left == kept:
            break
        kept = left
    if not kept:
        with pytest.raises(InputError):
            prepare(log_of(rows), split="paper", cleaning=Cleaning(min_purchases=k))
        return
    data = prepare(log_of(rows), split="paper", cleaning=Cleaning(min_purchases=k))
    assert bought(data) == bought(prepare(log_of(kept), split="paper"))
    assert set(data.items["item"]) == {row[1] for row in kept}
    assert data.summary["purchases outside the k-core"] == len(rows) - len(kept)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = prepare(log_of(LOG, [(i, f"{i} &amp;amp; co") for i in "abcd"]), split="leave-one-out")
    save_dataset(data, tmp_path / "shop", name="corner shop")
    return tmp_path / "shop"


def test_what_is_saved_reads_back(folder: Path) -> None:
    data = prepare(log_of(LOG), split="leave-one-out")
    dataset = Dataset.load(folder)
    assert {each.user: each.items for each in dataset.histories()} == bought(data)
    assert [(each.user, each.items) for each in dataset.train()] == [
        ("u1", ("a", "b")),
        ("u2", ("b",)),
    ]
    assert dataset.examples("validation") == (
        Example("u1", ("a", "b"), "c"),
        Example("u2", ("b",), "c"),
    )
    tests = (Example("u1", ("a", "b", "c"), "d"), Example("u2", ("b", "c"), "d"))
    assert dataset.examples("test") == tests
    assert dataset.summary["users"] == 3
    assert dataset.name == "corner shop"


def test_a_limit_draws_users_and_a_larger_one_draws_these_and_more(tmp_path: Path) -> None:
    rows = [(f"u{user:03}", item, day) for user in range(200) for day, item in enumerate("abcd")]
    save_dataset(prepare(log_of(rows), split="leave-one-out"), tmp_path / "shop")
    dataset = Dataset.load(tmp_path / "shop")
    whole, some, few = (dataset.examples("test", limit=limit) for limit in (200, 50, 20))
    assert whole == dataset.examples("test")
    assert [each for each in whole if each in some] == list(some)  # in their order
    assert {*few} < {*some}
    assert len(some) == 50
    assert some != whole[:50]
    assert dataset.examples("test", limit=50) == some


def test_titles_are_cleaned_where_they_are_read(folder: Path) -> None:
    dataset = Dataset.load(folder)
    assert dataset.catalogue("fair").title(dataset.catalogue("fair")[0].id) == "a & co"
    assert dataset.catalogue("paper")[0].title == "a &amp;amp; co"


def test_equal_data_make_equal_folders(folder: Path, tmp_path: Path) -> None:
    data = prepare(log_of(LOG, [(i, f"{i} &amp;amp; co") for i in "abcd"]), split="leave-one-out")
    save_dataset(data, tmp_path / "again", name="corner shop")
    assert Dataset.load(tmp_path / "again").fingerprint == Dataset.load(folder).fingerprint


def test_an_altered_file_is_named(folder: Path) -> None:
    pl.DataFrame({"item": ["a"], "title": ["other"]}).write_parquet(folder / "catalogue.parquet")
    with pytest.raises(ArtifactError, match=r"catalogue\.parquet is damaged"):
        Dataset.load(folder)


SPLITS = ("train", "validation", "test")


def test_saved_files_load_with_hugging_face_datasets(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        "parquet",
        data_files={name: str(folder / f"{name}.parquet") for name in SPLITS},
        cache_dir=str(tmp_path / "cache"),
    )
    assert loaded["test"].column_names == ["user", "history", "target"]
    assert loaded["test"][0] == {"user": "u1", "history": ["a", "b", "c"], "target": "d"}
    assert loaded["train"][0] == {"user": "u1", "history": ["a"], "target": "b"}
    assert loaded["validation"].num_rows == 2


def test_a_split_that_nobody_reaches_is_empty_and_reads_back(tmp_path: Path) -> None:
    save_dataset(prepare(log_of([("u", "a", 1)]), split="paper"), tmp_path / "tiny")
    dataset = Dataset.load(tmp_path / "tiny")
    assert dataset.train() == dataset.examples("test") == dataset.examples("validation") == ()
    assert dataset.name == "tiny"


def amazon_folder(folder: Path, metadata: list[str]) -> Path:
    reviews: list[dict[str, Any]] = [
        {"reviewerID": user, "asin": item, "unixReviewTime": time} for user, item, time in LOG
    ]
    (folder / "reviews_Beauty_5.json").write_text("\n".join(map(json.dumps, reviews)))
    (folder / "meta_Beauty.json").write_text("\n".join(metadata))
    return folder


def test_hostile_titles_survive_the_whole_way(tmp_path: Path) -> None:
    hostile = {
        "a": "line\nbreak\x00\x1b[31m",
        "b": "<script>alert(1)</script>",
        "c": "half \ud800",
        "d": "Title: &amp;amp;",
    }
    metadata = [json.dumps({"asin": item, "title": title}) for item, title in hostile.items()]
    log = read_amazon("beauty", amazon_folder(tmp_path, metadata))
    save_dataset(prepare(log, split="paper"), tmp_path / "out")
    shop = Dataset.load(tmp_path / "out").catalogue("fair")
    assert [item.title for item in shop] == [
        "line break [31m",
        "alert(1)",
        "half \ufffd",
        "Title: &",
    ]


def test_the_hubs_tools_find_the_splits_and_the_items(tmp_path, monkeypatch):
    hub = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    data = Dataset.load(stages.prepare(ShopData(users=60), tmp_path / "data").path)
    loaded = hub.load_dataset(str(data.path), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in loaded.items()} == {
        "train": data.summary["training users"],
        "validation": data.summary["validation users"],
        "test": data.summary["test users"],
    }
    items = hub.load_dataset(str(data.path), "catalogue", cache_dir=str(tmp_path / "cache"))
    assert items["train"]["item"] == [item.id for item in data.catalogue("paper")]
