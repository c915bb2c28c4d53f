"""Situations that once gave something wrong in silence, a traceback, or nothing; each with what is
right. The last test runs over the inputs that were filed, where they are at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gloss.config import TableData
from gloss.data.dataset import Dataset
from gloss.data.repeats import KEPT_FROM, RepeatedAnswers
from gloss.errors import ConfigError, GlossError, InputError
from gloss.evaluation.protocol import FAIR, PAPER
from gloss.experiment import stages
from preparing import (
    bought,
    csv_items,
    csv_log,
    histories,
    prepared,
    purchases,
    write,
)

FAULTS = Path(__file__).parents[2] / ".." / "shared" / "faults"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write(tmp_path / "log.csv", csv_log(purchases()))


@pytest.fixture
def items(tmp_path: Path) -> Path:
    return write(tmp_path / "items.csv", csv_items())


def test_a_changed_an_added_and_a_swapped_part_of_a_folder_are_noticed(
    tmp_path: Path, items: Path
) -> None:
    folder = tmp_path / "log.parquet"
    folder.mkdir()
    frame = pl.DataFrame(purchases(), schema=["user", "item", "time"], orient="row")
    frame.write_parquet(folder / "part-0.parquet")
    monday = prepared(tmp_path / "out", folder, items)
    assert prepared(tmp_path / "out", folder, items).fingerprint == monday.fingerprint
    new = pl.DataFrame({"user": ["new"] * 3, "item": ["i0", "i1", "i2"], "time": [1, 2, 3]})
    new.write_parquet(folder / "part-1.parquet")
    assert bought(prepared(tmp_path / "out", folder, items)) == {
        **histories(),
        "new": ("i0", "i1", "i2"),
    }
    new.reverse().with_columns(time=pl.Series([1, 2, 3])).write_parquet(folder / "part-1.parquet")
    assert bought(prepared(tmp_path / "out", folder, items))["new"] == ("i2", "i1", "i0")
    (folder / "part-0.parquet").unlink()
    assert set(bought(prepared(tmp_path / "out", folder, items))) == {"new"}


def test_an_artefact_does_not_depend_on_where_its_files_lie(tmp_path: Path) -> None:
    made = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        log = write(tmp_path / place / "log.csv", csv_log(purchases()))
        items = write(tmp_path / place / "items.csv", csv_items())
        made.append(prepared(tmp_path / f"out-{place}", log, items).path / "manifest.json")
    assert made[0].read_bytes() == made[1].read_bytes()


def test_rows_go_by_a_condition_and_are_counted(tmp_path: Path, items: Path) -> None:
    rows = [
        "user,item,time,event,price,brand\n",
        "u,i0,1,view,10.5,a\n",
        "u,i1,2,purchase,9.5,b\n",
        "u,i2,3,purchase,100,\n",
        "u,i3,4,cart,,a\n",
        "u,i4,5,purchase,20,0\n",
    ]
    log = write(tmp_path / "log.csv", "".join(rows))
    kept = {
        "event = 'purchase'": ("i1", "i2", "i4"),
        "price > 10": ("i0", "i2", "i4"),
        "event = 'purchase' AND price BETWEEN 10 AND 50": ("i4",),
        "brand IS NOT NULL AND event <> 'view'": ("i1", "i3", "i4"),
        "event IN ('view', 'cart') OR brand = '0'": ("i0", "i3", "i4"),
        "time >= 4": ("i3", "i4"),
        "user = 'u' AND item <> 'user = '": ("i0", "i1", "i2", "i3", "i4"),
    }
    for where, expected in kept.items():
        data = prepared(tmp_path / "out", log, items, where=where)
        assert bought(data) == {"u": expected}
        assert data.summary["rows left out by the condition"] == 5 - len(expected)


def test_conditions_take_decimal_commas_and_dates(tmp_path: Path, items: Path) -> None:
    log = write(tmp_path / "log.csv", "user;item;time;price\nu;i0;1;1,5\nu;i1;2;2,5\n")
    data = prepared(tmp_path / "out", log, items, where="price > 2", decimal=",")
    assert bought(data) == {"u": ("i1",)}
    frame = pl.DataFrame(purchases(), schema=["user", "item", "time"], orient="row")
    frame.with_columns(pl.from_epoch("time")).write_parquet(tmp_path / "log.parquet")
    where = "time < '2017-07-14 02:41:30' AND time >= '2017-07-14'"
    data = prepared(tmp_path / "out", tmp_path / "log.parquet", items, where=where)
    assert bought(data) == {"u0": ("i0", "i1")}


@pytest.mark.parametrize("magic", [b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"\x1f\x8b"])
def test_a_damaged_archive_is_named(tmp_path: Path, items: Path, magic: bytes) -> None:
    log = write(tmp_path / "log.csv", magic + b"no archive at all")
    with pytest.raises(InputError, match=r"log\.csv is a damaged or unfinished"):
        prepared(tmp_path / "out", log, items)


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("event =", "is not a SQL expression"),
        ("SELECT 1", "is not a SQL expression"),
        ("price + 1", "neither true nor false"),
    ],
)
def test_a_condition_that_is_none_is_a_wrong_setting(
    tmp_path: Path, items: Path, where: str, reason: str
) -> None:
    log = write(tmp_path / "log.csv", "user,item,time,price\nu,i0,1,2\n")
    with pytest.raises(ConfigError, match=reason):
        prepared(tmp_path / "out", log, items, where=where)


def test_a_condition_names_the_columns_nearest_to_an_absent_one(
    tmp_path: Path, items: Path
) -> None:
    log = write(tmp_path / "log.csv", "user,item,time,event_type\nu,i0,1,purchase\n")
    with pytest.raises(InputError, match="no column 'event'; it has 'event_type'"):
        prepared(tmp_path / "out", log, items, where="event = 'purchase'")
    with pytest.raises(InputError, match="no rows for which --where is true"):
        prepared(tmp_path / "out", log, items, where="event_type = 'view'")


def test_repeats_in_a_row_can_be_dropped_and_others_stay(tmp_path: Path, items: Path) -> None:
    rows = [("u", f"i{n}", time) for time, n in enumerate((0, 0, 1, 1, 1, 0, 2))]
    log = write(tmp_path / "log.csv", csv_log(rows))
    data = prepared(tmp_path / "out", log, items, drop_repeats=True)
    assert bought(data) == {"u": ("i0", "i1", "i0", "i2")}
    assert data.summary["repeats dropped"] == 7 - 4


def test_least_counts_of_users_and_items_hold_once(tmp_path: Path, items: Path) -> None:
    rows = [("u", "i0", 1), ("u", "i1", 2), ("v", "i0", 1), ("v", "i2", 2), ("w", "i0", 1)]
    log = write(tmp_path / "log.csv", csv_log(rows))
    users = prepared(tmp_path / "out", log, items, min_user_purchases=2)
    assert bought(users) == {"u": ("i0", "i1"), "v": ("i0", "i2")}
    sold = prepared(tmp_path / "out", log, items, min_item_purchases=2)
    assert bought(sold) == {"u": ("i0",), "v": ("i0",), "w": ("i0",)}


def test_sessions_may_stand_for_users(tmp_path: Path, items: Path) -> None:
    log = write(tmp_path / "log.csv", "who,session,item,time\na,s1,i0,1\na,s1,i1,2\na,s2,i2,3\n")
    data = prepared(tmp_path / "out", log, items, user="session")
    assert bought(data) == {"s1": ("i0", "i1"), "s2": ("i2",)}


def test_a_row_without_an_item_is_named_and_can_be_left_out(tmp_path: Path, items: Path) -> None:
    log = write(tmp_path / "log.csv", "user,item,time\nu,i0,1\nu,NULL,2\nu,i1,\\N\nu,i2,3\n")
    with pytest.raises(InputError, match=r"log\.csv:3: item is missing; .*:4: time is missing"):
        prepared(tmp_path / "out", log, items)
    data = prepared(tmp_path / "out", log, items, max_bad_lines=2)
    assert bought(data) == {"u": ("i0", "i2")}


def test_titles_are_mended_and_empty_ones_are_none(tmp_path: Path, log: Path) -> None:
    rows = {
        "i0": "Cafe\u0301 Cre\u0300me",
        "i1": "\u200b",
        "i2": "&nbsp;",
        "i3": "<b>Blue</b> kite <br/>",
        "i4": "\u202eReversed\u202c lamp",
        "i5": "NULL",
        "i6": "kite",
        "i7": "\U0001f469\u200d\U0001f467 doll",
    }
    content = "item,title\n" + "".join(f'{item},"{title}"\n' for item, title in rows.items())
    data = prepared(tmp_path / "out", log, write(tmp_path / "items.csv", content))
    assert {item.id: item.title for item in data.catalogue("fair")} == {
        "i0": "Caf\u00e9 Cr\u00e8me",
        "i3": "Blue kite",
        "i4": "Reversed lamp",
        "i6": "kite",
        "i7": "\U0001f469\u200d\U0001f467 doll",
    }
    assert data.summary["items without a title"] == 3


def test_further_columns_are_kept_and_typed(tmp_path: Path, log: Path) -> None:
    content = (
        "item,title,parent,price,stock,code,zip,note\n"
        "i0,Red,p1,9.5,true,7,007,x\ni1,Blue,p1,,false,8,010,\ni2,Green,p2,3,TRUE,,1,\n"
    )
    items = write(tmp_path / "items.csv", content)
    chosen = prepared(tmp_path / "out", log, items, group="parent", columns=("price", "stock"))
    assert [item.columns for item in chosen.catalogue("fair")] == [
        {"group": "p1", "price": 9.5, "stock": True},
        {"group": "p1", "price": None, "stock": False},
        {"group": "p2", "price": 3.0, "stock": True},
    ]
    everything = prepared(tmp_path / "out", log, items, columns=("*",)).catalogue("fair")
    assert everything[0].columns == {
        "parent": "p1",
        "price": 9.5,
        "stock": True,
        "code": 7,
        "zip": "007",
        "note": "x",
    }
    assert prepared(tmp_path / "out", log, items).catalogue("fair")[0].columns == {}


def test_columns_of_typed_files_keep_their_types(tmp_path: Path, log: Path) -> None:
    frame = pl.DataFrame(
        {"item": ["i0", "i1"], "title": ["A", "B"], "tags": [["x", "y"], None], "price": [1, 2]}
    )
    frame.write_parquet(tmp_path / "items.parquet")
    data = prepared(tmp_path / "out", log, tmp_path / "items.parquet", columns=("*",))
    assert data.catalogue("fair")[0].columns == {"tags": ["x", "y"], "price": 1}


def test_that_everybody_buys_again_is_said_with_the_setting_that_mends_it(
    tmp_path: Path, items: Path
) -> None:
    rows = [(f"u{n}", f"i{t % 2}", t) for n in range(30) for t in range(4)]
    data = prepared(tmp_path / "out", write(tmp_path / "log.csv", csv_log(rows)), items)
    assert data.summary["test users who buy again what they had"] == 30
    # One of 30 is a validation user, who trains on two purchases: i0 and i1, no repeat.
    assert data.repeats == RepeatedAnswers(answers=30, repeated=29)
    (warning,) = data.summary["warnings"]
    assert warning.startswith("29 of 30 answers (97%) are items that the user had bought before")
    assert "ranking.exclude_seen=true" in warning


@pytest.mark.parametrize("again", [4, 5, 6])
def test_bought_items_are_kept_from_one_repeat_in_twenty_answers(
    tmp_path: Path, items: Path, again: int
) -> None:
    """Of 100 validation answers, the purchase before the last, some were bought before."""
    rows = [
        (f"u{user:03}", item, time)
        for user in range(100)
        for time, item in enumerate(["i0", "i1", "i0" if user < again else "i2", "i3"])
    ]
    log = write(tmp_path / "log.csv", csv_log(rows))
    data = prepared(tmp_path / "out", log, items, split="leave-one-out")
    assert data.repeats == RepeatedAnswers(answers=100, repeated=again)
    assert FAIR.on(data.repeats).exclude_seen == (again / 100 < KEPT_FROM)
    assert PAPER.on(data.repeats) == PAPER
    assert ("warnings" in data.summary) == (again / 100 >= KEPT_FROM)


def test_without_a_split_the_last_purchases_say_whether_people_buy_again(
    tmp_path: Path, items: Path
) -> None:
    rows = [("a", "i0", 0), ("b", "i0", 0), ("b", "i1", 1), ("c", "i0", 0), ("c", "i0", 1)]
    data = prepared(tmp_path / "out", write(tmp_path / "l.csv", csv_log(rows)), items, split="none")
    assert data.repeats == RepeatedAnswers(answers=2, repeated=1)


@pytest.mark.parametrize(
    ("each", "split", "reason"),
    [
        (2, "paper", "no test users: nobody has three purchases"),
        (4, "paper", "no validation users .*: --split leave-one-out"),
    ],
)
def test_a_split_without_users_is_said(
    tmp_path: Path, items: Path, each: int, split: Any, reason: str
) -> None:
    log = write(tmp_path / "log.csv", csv_log(purchases(each=each)))
    summary = prepared(tmp_path / "out", log, items, split=split).summary
    assert len(summary["warnings"]) == 1
    assert summary["warnings"][0].startswith(reason.split(" .*")[0])
    enough = write(tmp_path / "log.csv", csv_log(purchases(users=20)))
    assert "warnings" not in prepared(tmp_path / "out", enough, items, split=split).summary


def test_equal_files_make_equal_folders_also_in_several_row_groups(tmp_path: Path) -> None:
    rows = [(f"u{n % 50_000}", f"i{n % 8}", n) for n in range(200_000)]
    log = write(tmp_path / "log.csv", csv_log(rows))
    items = write(tmp_path / "items.csv", csv_items())
    first, second = (prepared(tmp_path / name, log, items) for name in ("a", "b"))
    assert first.fingerprint == second.fingerprint


def test_pieces_of_a_log_make_the_same_data_as_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(f"u{n * 7 % 50}", f"i{n * 3 % 8}", n * 11 % 97) for n in range(1000)]
    log = write(tmp_path / "log.csv", csv_log(rows))
    items = write(tmp_path / "items.csv", csv_items())
    whole = prepared(tmp_path / "whole", log, items, min_purchases=3, drop_repeats=True)
    monkeypatch.setattr("gloss.data.preparation._PURCHASES_AT_ONCE", 64)
    pieces = prepared(tmp_path / "pieces", log, items, min_purchases=3, drop_repeats=True)
    assert bought(pieces) == bought(whole)
    assert pieces.summary == whole.summary


OK = {"users": 40, "purchases": 240, "catalogue": 12, "bad lines": 0}
ITEMS = "common/ok_items.csv"

Filed = tuple[dict[str, Any], dict[str, int] | str]

FILED: dict[str, Filed] = {
    "a08 Tuesday": (
        {"interactions": "a08-stale-folder/tue/log.parquet", "items": ITEMS},
        OK | {"users": 41, "purchases": 244},
    ),
    "two logs": (
        {"interactions": ["common/ok.csv", "a01-repeat/few.csv"], "items": ITEMS},
        OK | {"purchases": 240 + 72},
    ),
    "f01": (
        {
            "interactions": "f01-rees46/2019-Oct.csv",
            "items": "f01-rees46/products.csv",
            "user": "user_id",
            "item": "product_id",
            "time": "event_time",
            "title": "name",
            "where": "event_type = 'purchase'",
        },
        OK | {"purchases": 60},
    ),
    "f03": (
        {
            "interactions": "f03-bookcrossing/BX-Book-Ratings.csv",
            "items": "f03-bookcrossing/BX-Books.csv",
            "user": "User-ID",
            "item": "ISBN",
            "title": "Book-Title",
            "time": None,
        },
        OK,
    ),
    "f05": ({"interactions": "f05-mind/log.tsv", "items": "f05-mind/items.tsv"}, OK),
    "f17": ({"interactions": "f05-mind/log.tsv", "items": "f17-silent-merge/items.tsv"}, OK),
    "f04 bars": (
        {
            "interactions": "f04-movielens/u.data",
            "items": "f04-movielens/u.item",
            "user": "1",
            "item": "2",
            "time": "4",
            "item_in_items": "1",
            "title": "2",
        },
        OK,
    ),
    "f04 colons": (
        {
            "interactions": "f04-movielens/ratings.dat",
            "items": "f04-movielens/movies.dat",
            "user": "1",
            "item": "2",
            "time": "4",
            "item_in_items": "1",
            "title": "2",
            "header": False,
        },
        OK,
    ),
    "f06": (
        {
            "interactions": "f06-recbole/shop.inter",
            "items": "f06-recbole/shop.item",
            "user": "user_id",
            "item": "item_id",
            "time": "timestamp",
        },
        OK,
    ),
    "f07": (
        {
            "interactions": "f07-float-ids/log.csv",
            "items": "f07-float-ids/items.csv",
            "max_bad_lines": 1,
        },
        OK | {"bad lines": 1},
    ),
    "f08": (
        {
            "interactions": "f08-leading-zeros/transactions_train.csv",
            "items": "f08-leading-zeros/articles.parquet",
            "user": "customer_id",
            "item": "article_id",
            "time": "t_dat",
            "title": "prod_name",
        },
        "such as '0663700006', .*the catalogue has '663700000'.*--drop-leading-zeros",
    ),
    "f08 joined": (
        {
            "interactions": "f08-leading-zeros/transactions_train.csv",
            "items": "f08-leading-zeros/articles.parquet",
            "user": "customer_id",
            "item": "article_id",
            "time": "t_dat",
            "title": "prod_name",
            "drop_leading_zeros": True,
        },
        OK,
    ),
    "f09": (
        {"interactions": "f09-mixed-units/log.csv", "items": ITEMS},
        r"mixes units.*log\.csv:5: 1500000180 .*log\.csv:2: 1500000000000",
    ),
    "f11": ({"interactions": "f11-utf16/log.csv", "items": "f11-utf16/items.csv"}, OK),
    "f13": ({"interactions": "common/ok.csv", "items": "f13-big-field/items.csv"}, OK),
    "f15": ({"interactions": "f15-spark/log.parquet", "items": "f15-spark/items.csv"}, OK),
    "f20": ({"interactions": "f20-cr-only/log.csv", "items": ITEMS}, OK),
    "f20 CRLF": ({"interactions": "f20-cr-only/log2.csv", "items": ITEMS}, OK),
    "f22 unicode": (
        {"interactions": "f22-unicode/log.csv", "items": "f22-unicode/items.csv"},
        OK | {"purchases": 204, "catalogue": 10},
    ),
    "f22 large floats": (
        {
            "interactions": "f22-parquet/big_float_id.parquet",
            "items": "f22-parquet/items_big.csv",
        },
        r"big_float_id\.parquet: item is a float .*2\^53",
    ),
    "f22 decimals": (
        {
            "interactions": "f22-parquet/decimal_id.parquet",
            "items": "f22-parquet/items_num.parquet",
        },
        OK,
    ),
    "f22 bytes": ({"interactions": "f22-parquet/str_bin.parquet", "items": ITEMS}, OK),
    **{
        f"f16 {name}": ({"interactions": f"f16-dates/{name}.csv", "items": ITEMS}, OK)
        for name in [
            "comma",
            "eu",
            "iso_space_tz",
            "month",
            "ms",
            "ns",
            "rfc",
            "slash",
            "steam",
            "z",
        ]
    },
}


@pytest.mark.skipif(not FAULTS.is_dir(), reason="the filed inputs are not at ../shared/faults")
@pytest.mark.parametrize("case", FILED)
def test_filed_inputs_give_what_is_right(tmp_path: Path, case: str) -> None:
    settings, right = FILED[case]
    for side in ("interactions", "items"):
        named = settings[side] if isinstance(settings[side], list) else [settings[side]]
        settings = {**settings, side: [str(FAULTS / each) for each in named]}
    data = TableData(source="table", **settings)
    if isinstance(right, str):
        with pytest.raises(GlossError, match=right):
            stages.prepare(data, tmp_path / "out")
        return
    summary = Dataset.load(stages.prepare(data, tmp_path / "out").path).summary
    assert {name: summary[name] for name in right} == right
