from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gloss.config import TableData
from gloss.data.dataset import PurchaseLog
from gloss.data.readers.opening import LocalFile
from gloss.data.readers.tables import read_tables as read_all_tables
from gloss.errors import InputError


def read_tables(interactions: Path, items: Path, **options: Any) -> PurchaseLog:
    """The log of two files, its purchases in memory."""
    settings = TableData(source="table", interactions=interactions, items=items, **options)
    files = ([LocalFile(path, path)] for path in (interactions, items))
    log = read_all_tables(settings, *files)
    return replace(log, interactions=log.interactions.collect())


ROWS = [("u1", "a", 1), ("u2", "a", 2), ("u1", "b", 3)]
ITEMS = [("a", "Kite, red"), ("b", 'A "big" top')]
SECOND = 10**6


def write(path: Path, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Path:
    """Write rows in the format that the file's name asks for."""
    frame = pl.DataFrame(rows, schema=list(columns), orient="row")
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        frame.write_parquet(path)
        return path
    if kind == "jsonl":
        text = "".join(json.dumps(row) + "\n" for row in frame.iter_rows(named=True))
    else:
        text = frame.write_csv(separator="\t" if kind == "tsv" else ",")
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture
def items(tmp_path: Path) -> Path:
    return write(tmp_path / "items.csv", ("item", "title"), ITEMS)


def read_text(tmp_path: Path, items: Path, text: str, **options: Any) -> PurchaseLog:
    path = tmp_path / "log.csv"
    path.write_text(text)
    return read_tables(path, items, **options)


FORMATS = ["csv", "csv.gz", "tsv", "tsv.gz", "jsonl", "jsonl.gz", "parquet"]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_log(tmp_path: Path, kind: str) -> None:
    log = read_tables(
        write(tmp_path / f"log.{kind}", ("user", "item", "time"), ROWS),
        write(tmp_path / f"items.{kind}", ("item", "title"), ITEMS),
    )
    assert log.interactions.rows() == ROWS
    assert log.interactions.schema == {"user": pl.String, "item": pl.String, "time": pl.Int64}
    assert log.items.rows() == ITEMS
    assert log.counts["interaction rows"] == 3
    assert log.counts["item rows"] == 2
    assert log.counts["bad lines"] == 0


def test_columns_go_by_the_names_that_are_given(tmp_path: Path) -> None:
    log = read_tables(
        write(tmp_path / "log.csv", ("when", "customer", "sku"), [(5, "u", "a")]),
        write(tmp_path / "items.csv", ("name", "id"), [("Kite", "a")]),
        user="customer",
        item="sku",
        time="when",
        title="name",
        item_in_items="id",
    )
    assert log.interactions.rows() == [("u", "a", 5)]
    assert log.items.rows() == [("a", "Kite")]


def test_one_table_may_hold_purchases_and_titles(tmp_path: Path) -> None:
    path = write(tmp_path / "all.csv", ("user", "item", "time", "title"), [("u", "a", 1, "Kite")])
    log = read_tables(path, path)
    assert (log.interactions.rows(), log.items.rows()) == ([("u", "a", 1)], [("a", "Kite")])


def test_without_times_the_order_of_the_file_is_time(tmp_path: Path, items: Path) -> None:
    log = read_text(tmp_path, items, "user,item\nu1,a\n\nu2,a\nu1,b\n", time=None)
    times = log.interactions["time"].to_list()
    assert times == sorted(set(times))


@pytest.mark.parametrize("whole", [123, 123.0, "123", " 123 "])
def test_ids_of_any_type_are_equal_as_text(tmp_path: Path, items: Path, whole: Any) -> None:
    for kind in ("jsonl", "parquet"):
        path = write(tmp_path / f"log.{kind}", ("user", "item", "time"), [(whole, whole, 1)])
        assert read_tables(path, items).interactions.rows() == [("123", "123", 1)]


def test_integers_beside_gaps_are_still_integers(tmp_path: Path, items: Path) -> None:
    rows = [(1.0, "a", 1), (None, "a", 2), (float("nan"), "a", 3)]
    path = write(tmp_path / "log.parquet", ("user", "item", "time"), rows)
    log = read_tables(path, items, max_bad_lines=2)
    assert log.interactions.rows() == [("1", "a", 1)]


def test_csv_ids_keep_their_leading_zeros(tmp_path: Path, items: Path) -> None:
    log = read_text(tmp_path, items, "user,item,time\n007, 042 ,1\n")
    assert log.interactions.rows() == [("007", "042", 1)]


MOMENT = datetime(2014, 1, 1, tzinfo=UTC)
DAY = 1388534400 * SECOND


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1388534400", 1388534400),
        ("-5", -5),
        ("1388534400.5", 1388534400.5),
        ("1e3", 1000.0),
        ("9007199254740993", 2**53 + 1),
        ("2014-01-01", DAY),
        ("2014-01-01 00:00:01", DAY + SECOND),
        ("2014-01-01T00:00:00.000001Z", DAY + 1),
        ("2014-01-01T02:00:00+02:00", DAY),
    ],
)
def test_times_are_numbers_or_iso_dates(
    tmp_path: Path, items: Path, text: str, time: float
) -> None:
    log = read_text(tmp_path, items, f"user,item,time\nu,a,{text}\n")
    assert log.interactions["time"].to_list() == [time]


@pytest.mark.parametrize(
    "when", [date(2014, 1, 1), MOMENT, MOMENT.replace(tzinfo=None), MOMENT + timedelta(0)]
)
def test_dates_of_a_parquet_file_are_times(tmp_path: Path, items: Path, when: date) -> None:
    path = write(tmp_path / "log.parquet", ("user", "item", "time"), [("u", "a", when)])
    assert read_tables(path, items).interactions["time"].to_list() == [DAY]


BAD_ROWS = {
    "user is missing": ",a,1",
    "item is missing": "u,  ,1",
    "time is missing": "u,a,",
    "time is no number and no date that is known (say --time-format): 'soon'": "u,a,soon",
    "time is no number and no date that is known (say --time-format): 'inf'": "u,a,inf",
    "time is no number and no date that is known (say --time-format): '1_000'": "u,a,1_000",
    "time is a date where the rows before have numbers": "u,a,2014-01-01",
    "2 fields where the head has 3": "u,a",
    "4 fields where the head has 3": "u,a,1,more",
    "a quote that opens and does not close: if it is a letter, say --quote none": 'u,a,"1',
}


@pytest.mark.parametrize("reason", BAD_ROWS)
def test_a_bad_csv_row_is_named_by_file_and_line(tmp_path: Path, items: Path, reason: str) -> None:
    text = f"user,item,time\nu1,a,1\n{BAD_ROWS[reason]}"
    with pytest.raises(InputError, match=rf"log\.csv:3: {re.escape(reason)}\. .*--max-bad-lines 1"):
        read_text(tmp_path, items, text)
    log = read_text(tmp_path, items, text, max_bad_lines=1)
    assert log.interactions.rows() == [("u1", "a", 1)]
    assert log.counts["bad lines"] == 1


def test_a_row_over_several_lines_is_one_row(tmp_path: Path, items: Path) -> None:
    items.write_text('item,title\na,"Kite\nred"\nb\n')
    with pytest.raises(InputError, match=r"items\.csv:4: 1 fields"):
        read_text(tmp_path, items, "user,item,time\nu,a,1\n")
    log = read_text(tmp_path, items, "user,item,time\nu,a,1\n", max_bad_lines=1)
    assert log.items.rows() == [("a", "Kite\nred")]


def test_an_open_quote_counts_every_line_it_swallows(tmp_path: Path, items: Path) -> None:
    text = 'user,item,time\nu1,a,1\nu2,"a,2\n' + "u3,a,3\n" * 10
    with pytest.raises(InputError, match=r"11 lines cannot be read .*log\.csv:3: "):
        read_text(tmp_path, items, text)


def test_bytes_that_are_not_utf8_spoil_one_line_only(tmp_path: Path, items: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b"user,item,time\n\xff,a,1\nu,a\n\xc3\xa9,a,1\n")
    with pytest.raises(InputError, match=r"csv:2: not UTF-8; .*csv:3: 2 fields"):
        read_tables(path, items)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "not an object"),
        ('{"user": ["u"], "item": "a", "time": 1}', "user is not an id"),
        ('{"user": "u", "item": "a", "time": true}', "time is no number"),
        ('{"user": "\\ud800", "item": "a", "time": 1}', "user holds half a character"),
        ('{"user": "u", "item": "a"}', "time is missing"),
    ],
)
def test_a_bad_json_row_is_named_by_file_and_line(
    tmp_path: Path, items: Path, line: str, reason: str
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(f'{{"user": "u", "item": "a", "time": 1}}\n{line}\n')
    with pytest.raises(InputError, match=rf"log\.jsonl:2: {reason}"):
        read_tables(path, items)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_blank_and_absent_titles_are_no_titles(tmp_path: Path, kind: str) -> None:
    rows = [("a", "Kite"), ("b", None), ("c", "  ")]
    log = read_tables(
        write(tmp_path / "log.csv", ("user", "item", "time"), ROWS),
        write(tmp_path / f"items.{kind}", ("item", "title"), rows),
    )
    assert log.items.rows() == [("a", "Kite"), ("b", None), ("c", None)]


def test_half_characters_in_titles_are_replaced_and_counted(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text('{"item": "a", "title": "x\\ud800"}\n')
    log = read_tables(
        write(tmp_path / "log.csv", ("user", "item", "time"), ROWS), tmp_path / "items.jsonl"
    )
    assert log.items.rows() == [("a", "x\ufffd")]
    assert log.counts["titles with half characters"] == 1


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_an_absent_column_is_named_with_the_nearest_first(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"log.{kind}", ("item", "time", "user_id"), [("a", 1, "u")])
    said = rf"log\.{kind} has no column 'user'; it has 'user_id', .*: say which with --user$"
    with pytest.raises(InputError, match=said):
        read_tables(path, path)


def test_a_column_that_stands_twice_is_refused(tmp_path: Path, items: Path) -> None:
    with pytest.raises(InputError, match="2 columns named 'user'"):
        read_text(tmp_path, items, "user,item,time,user\nu,a,1,v\n")


@pytest.mark.parametrize(
    ("content", "reason"), [("", "is empty"), ("user,item,time\n", "no rows"), ("\n\n", "no rows")]
)
def test_empty_tables_are_input_errors(
    tmp_path: Path, items: Path, content: str, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        read_text(tmp_path, items, content)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("log.xlsx", "is not a whole workbook"),
        ("log.parquet", "is not a whole Parquet file"),
        ("log.feather", "is not a whole Feather file"),
        ("log.gz", "is a damaged or unfinished gzip file"),
        ("log.json", "cannot be read"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_named(
    tmp_path: Path, items: Path, name: str, reason: str
) -> None:
    (tmp_path / name).write_text("user,item,time\nu,a,1\n")
    with pytest.raises(InputError, match=rf"{re.escape(name)}.* {reason}|{reason}.*{name}"):
        read_tables(tmp_path / name, items)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_cut_parquet_file_is_an_input_error(tmp_path: Path, items: Path, share: float) -> None:
    path = write(tmp_path / "log.parquet", ("user", "item", "time"), ROWS)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"log\.parquet is not a whole Parquet file") as caught:
        read_tables(path, items)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent.csv", "absent.jsonl", "absent.parquet"])
def test_an_absent_file_is_named(tmp_path: Path, items: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"{name} does not exist"):
        read_tables(tmp_path / name, items)
