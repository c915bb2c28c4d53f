"""Every format: the same log gives the same data set, a baseline and its figures."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gloss.errors import InputError, UsageError
from preparing import (
    TITLES,
    bought,
    csv_items,
    csv_log,
    histories,
    prepared,
    purchases,
    titles,
    users_measured,
    write,
)

LOG = pl.DataFrame(purchases(), schema=["user", "item", "time"], orient="row")
ITEMS = pl.DataFrame({"item": [f"i{n}" for n in range(len(TITLES))], "title": TITLES})

Writer = Callable[[pl.DataFrame, Path], Any]


def lines(frame: pl.DataFrame, path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in frame.iter_rows(named=True)))


def array(frame: pl.DataFrame, path: Path) -> None:
    path.write_text(json.dumps(frame.to_dicts(), indent=1))


def literals(frame: pl.DataFrame, path: Path) -> None:
    path.write_text("".join(f"{row!r}\n" for row in frame.iter_rows(named=True)))


def spark_folder(frame: pl.DataFrame, path: Path) -> None:
    path.mkdir()
    (path / "_SUCCESS").touch()
    (path / ".part-0.parquet.crc").write_bytes(b"crc")
    half = frame.height // 2
    frame.head(half).write_parquet(path / "part-0.parquet")
    frame.tail(-half).write_parquet(path / "part-1.parquet")


def csv_folder(frame: pl.DataFrame, path: Path) -> None:
    path.mkdir()
    (path / "part-0.csv").touch()
    frame.head(1).write_csv(path / "part-1.csv")
    frame.tail(-1).write_csv(path / "part-2.csv")


def saved_dataset(frame: pl.DataFrame, path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict(frame.to_dict(as_series=False)).save_to_disk(str(path))


def saved_splits(frame: pl.DataFrame, path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    halves = {"train": frame.head(3), "test": frame.tail(-3)}
    made = {k: datasets.Dataset.from_dict(v.to_dict(as_series=False)) for k, v in halves.items()}
    datasets.DatasetDict(made).save_to_disk(str(path))


def sqlite(frame: pl.DataFrame, path: Path) -> None:
    with closing(sqlite3.connect(path)) as base:
        base.execute(f"CREATE TABLE t ({', '.join(frame.columns)})")
        signs = ", ".join("?" * frame.width)
        base.executemany(f"INSERT INTO t VALUES ({signs})", frame.rows())
        base.commit()


FORMATS: dict[str, tuple[str, Writer]] = {
    "CSV": ("csv", lambda frame, path: frame.write_csv(path)),
    "TSV": ("tsv", lambda frame, path: frame.write_csv(path, separator="\t")),
    "JSON lines": ("jsonl", lines),
    "JSON array": ("json", array),
    "Python literals": ("json", literals),
    "Parquet": ("parquet", lambda frame, path: frame.write_parquet(path)),
    "folder of Parquet": ("parquet", spark_folder),
    "folder of CSV": ("csv", csv_folder),
    "Feather": ("feather", lambda frame, path: frame.write_ipc(path)),
    "Arrow stream": ("arrow", lambda frame, path: frame.write_ipc_stream(path)),
    "Excel": ("xlsx", lambda frame, path: excel({"Sheet1": frame}, path)),
    "SQLite": ("db", sqlite),
    "saved data set": ("dataset", saved_dataset),
    "saved splits": ("splits", saved_splits),
    "without a suffix": ("data", lambda frame, path: frame.write_parquet(path)),
}


def excel(sheets: dict[str, pl.DataFrame], path: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.active)
    for name, frame in sheets.items():
        sheet = book.create_sheet(name)
        for row in (frame.columns, *frame.rows()):
            sheet.append(list(row))
    book.save(path)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_data_a_baseline_and_its_figures(
    tmp_path: Path, name: str
) -> None:
    suffix, written = FORMATS[name]
    paths = [tmp_path / f"{what}.{suffix}" for what in ("log", "items")]
    for frame, path in zip((LOG, ITEMS), paths, strict=True):
        written(frame, path)
    data = prepared(tmp_path / "data", *paths)
    assert bought(data) == histories()
    assert titles(data) == list(TITLES)
    assert users_measured(data.path, tmp_path) == len(histories())


def test_several_sources_are_one_log(tmp_path: Path) -> None:
    LOG.head(5).write_csv(tmp_path / "a.csv")
    LOG.slice(5, 5).write_parquet(tmp_path / "b.parquet")
    lines(LOG.tail(-10), tmp_path / "c.jsonl")
    items = write(tmp_path / "items.csv", csv_items())
    several = tuple(tmp_path / name for name in ("c.jsonl", "b.parquet", "a.csv"))
    assert bought(prepared(tmp_path / "out", several, items)) == histories()
    for pattern in ("[abc].*", "**/[a-c].*"):
        assert bought(prepared(tmp_path / "out", tmp_path / pattern, items)) == histories()


def test_one_table_may_hold_both(tmp_path: Path) -> None:
    LOG.join(ITEMS, on="item").write_parquet(tmp_path / "all.parquet")
    data = prepared(tmp_path / "out", tmp_path / "all.parquet")
    assert bought(data) == histories()
    assert sorted(titles(data)) == sorted(TITLES[:7])


def test_names_of_folders_are_columns(tmp_path: Path) -> None:
    for user in range(4):
        part = LOG.filter(pl.col("user") == f"u{user}").drop("user")
        (tmp_path / f"log/user=u{user}").mkdir(parents=True)
        part.write_parquet(tmp_path / f"log/user=u{user}/part.parquet")
    items = write(tmp_path / "items.csv", csv_items())
    assert bought(prepared(tmp_path / "out", tmp_path / "log", items)) == histories()


def test_sheets_of_a_workbook_are_one_log(tmp_path: Path) -> None:
    sheets = {"2010": LOG.head(6), "2011": LOG.tail(-6), "notes": pl.DataFrame({"note": ["x"]})}
    excel(sheets, tmp_path / "log.xlsx")
    items = write(tmp_path / "items.csv", csv_items())
    data = prepared(tmp_path / "out", tmp_path / "log.xlsx", items)
    assert bought(data) == histories()
    assert data.summary["read as"]["interactions"] == "Excel, 2 of 3 sheets"


@pytest.mark.parametrize("through", ["SQLite", "SQLAlchemy"])
def test_databases_answer_queries(tmp_path: Path, through: str) -> None:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as base:
        base.execute("CREATE TABLE orders (who TEXT, what TEXT, at INTEGER)")
        base.executemany("INSERT INTO orders VALUES (?, ?, ?)", LOG.rows())
        base.execute("CREATE TABLE products (id TEXT, name TEXT)")
        base.executemany("INSERT INTO products VALUES (?, ?)", ITEMS.rows())
        base.commit()
    source = str(path) if through == "SQLite" else f"sqlite:///{path}"
    queries = {
        "sql": "SELECT who AS user, what AS item, at AS time FROM orders",
        "items_sql": "SELECT id AS item, name AS title FROM products",
    }
    data = prepared(tmp_path / "out", source, **queries)
    assert bought(data) == histories()
    assert titles(data) == list(TITLES)
    assert prepared(tmp_path / "out", source, **queries).fingerprint == data.fingerprint
    with closing(sqlite3.connect(path)) as base:
        base.execute("DELETE FROM orders WHERE who = 'u0'")
        base.commit()
    assert set(bought(prepared(tmp_path / "out", source, **queries))) == {"u1", "u2", "u3"}
    with pytest.raises(UsageError, match=r"2 tables \(orders, products\)|--sql"):
        prepared(tmp_path / "out", source)
    with pytest.raises(InputError, match=r"shop\.db cannot be read: .*no such"):
        prepared(tmp_path / "out", source, sql="SELECT * FROM nowhere", items_sql="SELECT 1")


def test_a_password_is_shown_nowhere(tmp_path: Path) -> None:
    address = "sqlite://me:secret@host/shop"
    with pytest.raises(InputError) as failure:
        prepared(tmp_path / "out", address, sql="SELECT 1", items_sql="SELECT 1")
    assert "secret" not in str(failure.value)


def test_standard_input_is_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(csv_log(purchases(), ";").encode("utf-16")))
    monkeypatch.setattr(sys, "stdin", stream)
    items = write(tmp_path / "items.csv", csv_items())
    assert bought(prepared(tmp_path / "out", "-", items)) == histories()


def test_an_address_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "served").mkdir()
    LOG.write_parquet(tmp_path / "served/log.parquet")
    handler = partial(Quiet, directory=str(tmp_path / "served"))
    items = write(tmp_path / "items.csv", csv_items())
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/log.parquet"
        assert bought(prepared(tmp_path / "out", address, items)) == histories()
        with pytest.raises(InputError, match=r"cannot download .*/none\.csv \(HTTP 404"):
            prepared(tmp_path / "other", address.replace("log.parquet", "none.csv"), items)
        server.shutdown()
    assert bought(prepared(tmp_path / "again", address, items)) == histories()


class Quiet(SimpleHTTPRequestHandler):
    """A server that says nothing."""

    def log_message(self, *arguments: object) -> None:
        pass


def test_only_https_is_spoken_abroad(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not an https:// address"):
        prepared(tmp_path / "out", "http://example.invalid/log.csv")


def test_a_data_set_of_the_hub_goes_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "someone/log").mkdir(parents=True)
    LOG.write_csv(tmp_path / "someone/log/train.csv")
    items = write(tmp_path / "items.csv", csv_items())
    for name in ("hf://someone/log", "hf://someone/log@train"):
        assert bought(prepared(tmp_path / "out", name, items)) == histories()
    with pytest.raises(InputError, match=r"hf://someone/nothing cannot be loaded"):
        prepared(tmp_path / "out", "hf://someone/nothing", items)


LISTS = [(f"u{user}", list(items)) for user, items in enumerate(histories().values())]


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv"])
def test_rows_may_hold_whole_lists(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"log.{kind}"
    frame = pl.DataFrame(LISTS, schema=["user", "item"], orient="row")
    options: dict[str, Any] = {}
    if kind == "csv":
        frame.with_columns(pl.col("item").list.join(" ")).write_csv(path)
        options = {"list_separator": " "}
    elif kind == "jsonl":
        lines(frame, path)
    else:
        frame.write_parquet(path)
    items = write(tmp_path / "items.csv", csv_items())
    assert bought(prepared(tmp_path / "out", path, items, time=None, **options)) == histories()


def test_lists_of_times_go_with_lists_of_items(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": ["u"], "item": [["i0", "i1", "i2"]], "time": [[3, 1, 2]]})
    items = write(tmp_path / "items.csv", csv_items())
    frame.write_parquet(tmp_path / "log.parquet")
    lines(frame, tmp_path / "log.jsonl")
    for name in ("log.parquet", "log.jsonl"):
        data = prepared(tmp_path / "out", tmp_path / name, items)
        assert bought(data) == {"u": ("i1", "i2", "i0")}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.csv", "none.csv does not exist"),
        ("none*.csv", "matches no file"),
        ("none.db", "none.db does not exist"),
        ("empty", "is a folder without data files"),
    ],
)
def test_a_source_that_leads_nowhere_is_named(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "empty").mkdir()
    items = write(tmp_path / "items.csv", csv_items())
    with pytest.raises(InputError, match=reason):
        prepared(tmp_path / "out", tmp_path / name, items)
