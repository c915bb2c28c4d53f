"""Databases by SQL: SQLite by itself, every other through SQLAlchemy.

A result is written to a Parquet file first, in pieces, so that it can be fingerprinted and read
like any other table.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl

from gloss.data.readers.lines import on_one_line
from gloss.errors import InputError, UsageError, require_extra

__all__ = ["is_database", "query_result", "without_password"]

SQLITE_SUFFIXES = (".sqlite", ".sqlite3", ".db", ".db3")
_ROWS_AT_ONCE = 100_000
_SQLITE_MAGIC = b"SQLite format 3\x00"


def is_database(source: str) -> bool:
    """Whether a source is a SQLite file or the address of a database."""
    if "://" in source:
        return not source.startswith(("https://", "http://", "hf://"))
    path = Path(source)
    if not path.is_file():
        return path.suffix.lower() in SQLITE_SUFFIXES
    with path.open("rb") as file:
        return file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC


def query_result(source: str, sql: str | None, folder: Path) -> list[Path]:
    """The rows of a query (without one: of the only table), as Parquet files in `folder`.

    Raises InputError when the database cannot be read, UsageError when there is no telling which
    table is meant.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = without_password(source)
    rows = _sqlalchemy_rows if "://" in source else _sqlite_rows
    parts = []
    for number, (names, batch) in enumerate(rows(source, sql, shown)):
        columns = zip(*batch, strict=True) if batch else ((),) * len(names)
        series = [_series(name, list(values)) for name, values in zip(names, columns, strict=True)]
        parts.append(folder / f"{number:05}.parquet")
        pl.DataFrame(series).write_parquet(parts[-1])
    return parts


def _series(name: str, values: list[Any]) -> pl.Series:
    """A column; one that mixes types (SQLite lets it) becomes text."""
    try:
        return pl.Series(name, values, strict=True)
    except (TypeError, pl.exceptions.PolarsError):
        texts = [None if value is None else str(value) for value in values]
        return pl.Series(name, texts, dtype=pl.String)


_Batch = tuple[Sequence[str], list[Any]]


def _sqlite_rows(source: str, sql: str | None, shown: str) -> Iterator[_Batch]:
    if not Path(source).is_file():
        raise InputError(f"{shown} does not exist")
    address = f"{Path(source).resolve().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            cursor = connection.execute(sql or _only_table(connection, shown))
            yield from _batches([column[0] for column in cursor.description or ()], cursor)
    except sqlite3.Error as error:
        raise InputError(f"{shown} cannot be read: {on_one_line(error)}") from None


def _only_table(connection: sqlite3.Connection, shown: str) -> str:
    query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
    tables = [name for (name,) in connection.execute(query) if not name.startswith("sqlite_")]
    if len(tables) != 1:
        raise UsageError(
            f"{shown} has {len(tables)} tables ({', '.join(tables[:10])}): say which rows with "
            '--sql (purchases) or --items-sql (items), such as --sql "SELECT * FROM orders"'
        )
    return f'SELECT * FROM "{tables[0]}"'


def _sqlalchemy_rows(source: str, sql: str | None, shown: str) -> Iterator[_Batch]:
    require_extra("Reading a database", "tables", "sqlalchemy")
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    if sql is None:
        raise UsageError(f'{shown} is a database: say --sql "SELECT …" and --items-sql "SELECT …"')
    try:
        engine = sqlalchemy.create_engine(source)
        with engine.connect() as connection:
            options = {"stream_results": True, "max_row_buffer": _ROWS_AT_ONCE}
            result = connection.execution_options(**options).execute(sqlalchemy.text(sql))
            yield from _batches(list(result.keys()), result)
    except (SQLAlchemyError, ImportError) as error:
        raise InputError(f"{shown} cannot be read: {on_one_line(error)}") from None


def _batches(names: Sequence[str], rows: Any) -> Iterator[_Batch]:
    batch = rows.fetchmany(_ROWS_AT_ONCE)
    yield names, batch
    while batch := rows.fetchmany(_ROWS_AT_ONCE):
        yield names, batch


def without_password(source: str) -> str:
    scheme, sign, rest = source.partition("://")
    credentials, at, place = rest.rpartition("@")
    return f"{scheme}{sign}{credentials.split(':')[0]}{at}{place}" if sign else source
