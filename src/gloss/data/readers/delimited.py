"""Delimited text to columns: DuckDB reads it, strictly; rows that it cannot read are named by line.

A row is refused rather than guessed at. Where doubled quotes leave broken rows, quotes escaped by a
backslash are tried before rows are called bad; that quotes are letters has to be said.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import polars as pl

from gloss.data.readers.dialects import Dialect, DialectChoice, detect_dialect, split_row
from gloss.data.readers.lines import BadLines, input_errors, on_one_line
from gloss.data.readers.plain_text import PlainText, plain_text
from gloss.data.readers.raw import RawTable, Request
from gloss.errors import InputError

__all__ = ["read_delimited"]

_USUAL_LINE = 1 << 21
_LONGEST_LINE = 1 << 28
_CHUNK = 1 << 20
_MEMORY = "1GB"

_Reject = tuple[int, str, str]
"""A line that is not a row: its number, DuckDB's name of the fault, the text."""


def read_delimited(
    path: Path,
    request: Request,
    said: DialectChoice,
    bad: BadLines,
    *,
    workspace: Path,
    shown: Path,
) -> RawTable:
    """Read the wanted columns as text, in the order of the file.

    Raises InputError when the file cannot be read or lacks a column; rows that do not fit are
    noted in `bad`.
    """
    with input_errors(shown):
        text = plain_text(path, workspace, encoding=said.encoding, is_inherited=said.is_inherited)
        dialect = detect_dialect(text.path, said, wanted=request.needed, shown=shown)
    names = request.chosen(dialect.columns, shown)
    target = workspace / f"rows-{len(list(workspace.iterdir()))}.parquet"
    dialect, rejects = _read_best(text, dialect, said, names, target, shown)
    _note(rejects, dialect, bad, shown)
    if said.quote is None and dialect.quote:
        _note_swallowed(text.path, dialect, bad, shown)
    lines = partial(_lines_of_rows, text.path, dialect, frozenset(line for line, *_ in rejects))
    described = f"{dialect.described()}, {text.encoding}"
    return RawTable(shown, pl.scan_parquet(target, glob=False), True, described, lines)


def _read_best(
    text: PlainText,
    dialect: Dialect,
    said: DialectChoice,
    names: Sequence[str],
    target: Path,
    shown: Path,
) -> tuple[Dialect, list[_Reject]]:
    """Read by the detected dialect; with backslashes before quotes if only so every row reads."""
    rejects = _read(text, dialect, names, target, shown)
    if said.quote is None and dialect.quote and dialect.escape != "\\" and rejects:
        other = replace(dialect, escape="\\")
        trial = target.with_suffix(".trial")
        if not _read(text, other, names, trial, shown):
            trial.replace(target)
            return other, []
        trial.unlink()
    return dialect, rejects


def _read(
    text: PlainText, dialect: Dialect, names: Sequence[str], target: Path, shown: Path
) -> list[_Reject]:
    """Write the columns to `target` as Parquet; the lines that are no rows."""
    with duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{_MEMORY}'")
        connection.execute(f"SET temp_directory = {_literal(str(target.parent))}")
        try:
            rejects = _copy(connection, text, dialect, names, target, _USUAL_LINE)
            if any(kind == "LINE SIZE OVER MAXIMUM" for _, kind, _ in rejects):
                rejects = _copy(connection, text, dialect, names, target, _LONGEST_LINE)
        except duckdb.Error as error:
            raise InputError(f"{shown} cannot be read: {on_one_line(error)}") from None
    return rejects


def _copy(
    connection: duckdb.DuckDBPyConnection,
    text: PlainText,
    dialect: Dialect,
    names: Sequence[str],
    target: Path,
    longest: int,
) -> list[_Reject]:
    connection.execute("DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
    places = [dialect.columns.index(name) for name in names]
    chosen = [f"c{place} AS {_name(name)}" for place, name in zip(places, names, strict=True)]
    connection.execute(
        f"COPY (SELECT {', '.join(chosen)} FROM {_source(text, dialect, longest)}) "
        f"TO {_literal(str(target))} (FORMAT parquet, COMPRESSION lz4)"
    )
    found = connection.execute(
        "SELECT any_value(line_byte_position), any_value(error_type), any_value(csv_line) "
        "FROM reject_errors GROUP BY line ORDER BY line"
    ).fetchall()
    lines = _lines_at([place or 1 for place, _, _ in found], text.path) if found else ()
    return [
        (line + _leading_newlines(row or ""), kind, row or "")
        for line, (_, kind, row) in zip(lines, found, strict=True)
    ]


def _lines_at(places: Sequence[int], path: Path) -> list[int]:
    """The lines at which bytes (from 1, in order) stand; DuckDB counts rows, not lines."""
    lines = []
    line, done = 1, 0
    with path.open("rb") as file:
        for place in places:
            while done < place - 1:
                chunk = file.read(min(_CHUNK, place - 1 - done))
                line += chunk.count(b"\n")
                done += len(chunk)
                if not chunk:
                    break
            lines.append(line)
    return lines


def _leading_newlines(row: str) -> int:
    return row[: len(row) - len(row.lstrip("\r\n"))].count("\n")


def _source(text: PlainText, dialect: Dialect, longest: int) -> str:
    columns = {f"c{place}": "VARCHAR" for place in range(len(dialect.columns))}
    options = {
        "columns": columns,
        "delim": dialect.delimiter,
        "quote": dialect.quote,
        "escape": dialect.escape,
        "header": False,
        "skip": dialect.head_lines,
        "auto_detect": False,
        "store_rejects": True,
        "rejects_limit": 0,
        "max_line_size": longest,
        "new_line": text.newline.replace("\r", "\\r").replace("\n", "\\n"),
    }
    named = ", ".join(f"{name} = {_literal(value)}" for name, value in options.items())
    return f"read_csv({_literal(str(text.path))}, {named})"


def _literal(value: Any) -> str:
    """A value as SQL."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(k)}: {_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower()


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_REASONS = {
    "INVALID ENCODING": "not UTF-8",
    "UNQUOTED VALUE": "a quote that opens and does not close: if it is a letter, say --quote none",
    "LINE SIZE OVER MAXIMUM": "longer than 256 MiB",
}


def _note(rejects: Sequence[_Reject], dialect: Dialect, bad: BadLines, path: Path) -> None:
    for line, kind, row in rejects:
        lines = max(1, len(row.strip("\r\n").splitlines()))
        bad.add(path, line, _reason(kind, row, dialect), lines=lines)


def _reason(kind: str, row: str, dialect: Dialect) -> str:
    if kind in _REASONS:
        return _REASONS[kind]
    try:
        fields = len(split_row(dialect, row.strip("\r\n").splitlines()))
    except csv.Error as error:
        return str(error)
    head = "head has" if dialect.has_head else "first row has"
    return f"{fields} fields where the {head} {len(dialect.columns)}"


def _note_swallowed(path: Path, dialect: Dialect, bad: BadLines, shown: Path) -> None:
    """Note rows that a quoted field seems to hold: two quotes meant as letters, lines apart.

    Such a file reads without a fault, and loses rows in silence. A line within a field counts as a
    row if it has as many fields, and its first one is spelled like those of the first column.
    """
    with path.open("rb") as file:
        for start, lines in _records_of_several_lines(file, dialect):
            rows = [line.rstrip("\r\n").split(dialect.delimiter) for line in lines]
            shapes = {_shape(row[0]) for row in rows}
            if len(shapes) == 1 and all(len(row) == len(dialect.columns) for row in rows):
                reason = (
                    f"a quoted field holds what look like {len(rows) - 1} more rows: say --quote "
                    f"none if quotes are letters, --quote '{dialect.quote}' if it does"
                )
                bad.add(shown, start, reason, lines=len(rows))


def _records_of_several_lines(file: BinaryIO, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Where the number of quotes in a line is odd, a field goes on; up to the next such line."""
    held: list[str] = []
    start = number = 0
    while block := file.read(_CHUNK) + file.readline():
        if not held and dialect.quote.encode() not in block:
            number += _line_ends(block)
            continue
        for raw in block.splitlines(keepends=True):
            number += 1
            line = raw.decode("utf-8", "replace")
            if held:
                held.append(line)
            if not _leaves_a_field_open(line, dialect):
                continue
            if held:
                yield start, held
                held = []
            else:
                held, start = [line], number


def _line_ends(block: bytes) -> int:
    feeds = block.count(b"\n")
    return feeds + block.count(b"\r") - block.count(b"\r\n") if b"\r" in block else feeds


def _leaves_a_field_open(line: str, dialect: Dialect) -> bool:
    quotes = line.count(dialect.quote)
    if quotes and dialect.escape == "\\":
        quotes -= line.count("\\" + dialect.quote)
    return quotes % 2 == 1


def _shape(text: str) -> str:
    """What a field is spelled like: letters, digits and signs.

    >>> _shape("i12"), _shape("B00-7")
    ('a9', 'a9-9')
    """
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", text.strip('" ')))


def _lines_of_rows(
    path: Path, dialect: Dialect, rejected: frozenset[int], rows: Sequence[int]
) -> list[int]:
    """The lines at which rows begin, by reading the text again up to the last of them."""
    wanted = dict.fromkeys(sorted(rows), 0)
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        starts = _starts(file, dialect, rejected)
        last = max(wanted, default=-1)
        for row, line in enumerate(islice(starts, last + 1)):
            if row in wanted:
                wanted[row] = line
    return [wanted[row] for row in rows]


def _starts(lines: Iterator[str], dialect: Dialect, rejected: frozenset[int]) -> Iterator[int]:
    """The line at which each good row begins."""
    feed = _Counted(lines)
    for _ in range(dialect.head_lines):
        next(feed)
    while True:
        start = feed.count + 1
        try:
            fields = next(_reader(feed, dialect))
        except StopIteration:
            return
        except csv.Error:
            continue
        if fields and start not in rejected:
            yield start


def _reader(feed: Iterator[str], dialect: Dialect) -> Iterator[list[str]]:
    backslash = dialect.escape == "\\"
    return csv.reader(
        feed,
        delimiter=dialect.delimiter[0],
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        escapechar="\\" if backslash else None,
        doublequote=not backslash,
    )


@dataclass(slots=True)
class _Counted:
    """Lines, and how many have been taken."""

    lines: Iterator[str]
    count: int = 0

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> str:
        line = next(self.lines)
        self.count += 1
        return line
