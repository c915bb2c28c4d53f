"""Your own tables: CSV, TSV, Parquet or JSON Lines, with columns under any names.

Every format ends in numbered rows of plain values; what is an id, a time or a title is decided in
one place for all of them. Knows nothing of splits.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PanicException, PolarsError

from gloss.data.dataset import PurchaseLog
from gloss.data.lines import (
    BadLine,
    BadLines,
    input_errors,
    is_well_formed,
    json_object,
    on_one_line,
    parse_lines,
    read_lines,
    repair_text,
)
from gloss.errors import InputError

__all__ = ["read_item_table", "read_tables"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INT64_END = 2**63
_MOST_COLUMNS_NAMED = 20

Rows = Iterator[tuple[int, tuple[Any, ...]]]


def read_tables(
    interactions: Path,
    items: Path,
    *,
    user: str = "user",
    item: str = "item",
    time: str | None = "time",
    title: str = "title",
    item_in_items: str | None = None,
    max_bad_lines: int = 0,
) -> PurchaseLog:
    """Read purchases and titles from two tables (or one and the same) by the names of columns.

    The format follows the file's name: .csv, .tsv, .jsonl, .ndjson (each also .gz), .parquet.
    `item_in_items` is the item column of `items` where it is named differently. Ids become text,
    so that 123, 123.0 and "123" are equal; CSV ids keep their leading zeros; spaces around ids
    fall away. Times are numbers, or ISO dates (without a zone: UTC), the same kind in all rows;
    with `time=None` the order of the file is the order of time. A blank title is no title.

    A row is bad that lacks a user, item or time or is not whole; a Parquet row counts as a line.
    Raises InputError when a file cannot be read, is empty or lacks a column, or more than
    `max_bad_lines` lines are bad.
    """
    bad = BadLines(max_bad_lines)
    log = _read_interactions(Path(interactions), user, item, time, bad)
    catalogue, repaired = _read_items(Path(items), item_in_items or item, title, bad)
    bad.check()
    for table, path in ((log, interactions), (catalogue, items)):
        if table.is_empty():
            raise InputError(f"{path} has no rows")
    counts = {
        "interaction rows": log.height,
        "item rows": catalogue.height,
        "titles with half characters": repaired,
        "bad lines": bad.count,
    }
    return PurchaseLog(log, catalogue, counts)


def read_item_table(path: Path, *, item: str = "item", title: str = "title") -> pl.DataFrame:
    """Read items alone, every row whole and titled: columns item, title, in the file's order.

    Formats and errors as for `read_tables`.
    """
    bad = BadLines(0)
    table, _ = _read_items(Path(path), item, title, bad)
    bad.check()
    if table.is_empty():
        raise InputError(f"{path} has no rows")
    untitled = table.filter(pl.col("title").is_null())["item"].to_list()
    if untitled:
        raise InputError(f"{path}: {untitled[0]} has no title, and nothing else to be found by")
    return table


def _read_interactions(
    path: Path, user: str, item: str, time: str | None, bad: BadLines
) -> pl.DataFrame:
    """Columns user, item, time, in the file's order."""
    clock = _Clock()
    users: list[str] = []
    items: list[str] = []
    times: list[int | float] = []
    for number, row in _rows(path, (user, item) if time is None else (user, item, time), bad):
        try:
            who, what = _id(row[0], user), _id(row[1], item)
            times.append(number if time is None else clock.read(row[2], time))
        except BadLine as reason:
            bad.add(path, number, str(reason))
        else:
            users.append(who)
            items.append(what)
    ids = {"user": pl.Series(users, dtype=pl.String), "item": pl.Series(items, dtype=pl.String)}
    return pl.DataFrame({**ids, "time": _numbers(times)})


def _read_items(path: Path, item: str, title: str, bad: BadLines) -> tuple[pl.DataFrame, int]:
    """Columns item, title, in the file's order; and how many titles held half characters."""
    rows: list[tuple[str, str | None]] = []
    repaired = 0
    for number, (raw_id, raw_title) in _rows(path, (item, title), bad):
        try:
            found, text = _id(raw_id, item), _title(raw_title, title)
        except BadLine as reason:
            bad.add(path, number, str(reason))
            continue
        if text is not None and not is_well_formed(text):
            text = repair_text(text)
            repaired += 1
        rows.append((found, text))
    schema = {"item": pl.String, "title": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row"), repaired


def _rows(path: Path, columns: Sequence[str], bad: BadLines) -> Rows:
    """The named columns of each row, with the number of the line (or Parquet row) from 1."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        suffix = Path(path.stem).suffix.lower().replace(".parquet", "")
    if suffix not in _READERS:
        raise InputError(
            f"{path} is in no known format: name it .csv, .tsv, .jsonl, .ndjson (each also .gz) "
            "or .parquet"
        )
    return _READERS[suffix](path, columns, bad)


def _csv_rows(path: Path, columns: Sequence[str], bad: BadLines) -> Rows:
    return _delimited_rows(path, columns, bad, delimiter=",")


def _tsv_rows(path: Path, columns: Sequence[str], bad: BadLines) -> Rows:
    return _delimited_rows(path, columns, bad, delimiter="\t")


def _delimited_rows(path: Path, columns: Sequence[str], bad: BadLines, *, delimiter: str) -> Rows:
    feed = _Feed(read_lines(path, bad))
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    head: list[str] = []
    places: list[int] = []
    for row in _whole_rows(reader, feed, path, bad):
        if not head:
            head = [name.strip() for name in row]
            places = [_place(name, head, path) for name in columns]
        elif len(row) != len(head):
            feed.note(bad, path, f"{len(row)} fields where the head has {len(head)}")
        else:
            yield feed.first, tuple(row[place] for place in places)


@dataclass(slots=True)
class _Feed:
    """Lines for a CSV reader, which may take several for one row: from `first` to `last`."""

    lines: Iterator[tuple[int, str]]
    first: int = 0
    last: int = 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        self.last, text = next(self.lines)
        self.first = self.first or self.last
        return text

    def note(self, bad: BadLines, path: Path, reason: str) -> None:
        """Note a bad row by all its lines: an open quote must not hide how much it swallowed."""
        bad.add(path, self.first, reason, lines=self.last - self.first + 1)


def _whole_rows(
    reader: Iterator[list[str]], feed: _Feed, path: Path, bad: BadLines
) -> Iterator[list[str]]:
    """The rows that parse and are not blank; `feed.first` tells where each begins."""
    while True:
        feed.first = 0
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            feed.note(bad, path, str(error))
        else:
            if row:
                yield row


def _json_rows(path: Path, columns: Sequence[str], bad: BadLines) -> Rows:
    found: dict[str, None] = {}
    for number, entry in parse_lines(path, json_object, bad):
        found.update(dict.fromkeys(entry))
        yield number, tuple(entry.get(name) for name in columns)
    # Rows may leave out what they do not know, so a column is only absent if no row has it.
    for name in columns if found else ():
        _place(name, list(found), path)


def _parquet_rows(path: Path, columns: Sequence[str], bad: BadLines) -> Rows:
    try:
        with input_errors(path):
            found = list(pl.read_parquet_schema(path))
            for name in columns:
                _place(name, found, path)
            frame = pl.read_parquet(path, columns=list(dict.fromkeys(columns)), glob=False)
    except (PolarsError, PanicException) as error:  # some flipped bytes make polars panic
        raise InputError(f"{path} is not a whole Parquet file: {on_one_line(error)}") from None
    picked = frame.select(pl.col(name).alias(str(n)) for n, name in enumerate(columns))
    yield from enumerate(picked.iter_rows(), 1)


_READERS: dict[str, Callable[[Path, Sequence[str], BadLines], Rows]] = {
    ".csv": _csv_rows,
    ".tsv": _tsv_rows,
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
    ".parquet": _parquet_rows,
}


def _place(name: str, found: Sequence[str], path: Path) -> int:
    """Where the column stands; InputError if it stands nowhere, or twice."""
    if found.count(name) == 1:
        return found.index(name)
    if name in found:
        raise InputError(f"{path} has {found.count(name)} columns named {name!r}: rename one")
    nearest = sorted(found, key=lambda other: -_likeness(name, other))
    named = ", ".join(map(repr, nearest[:_MOST_COLUMNS_NAMED]))
    more = ", …" if len(nearest) > _MOST_COLUMNS_NAMED else ""
    raise InputError(f"{path} has no column {name!r}; it has {named}{more}")


def _likeness(name: str, other: str) -> float:
    return SequenceMatcher(None, name.lower(), other.lower()).ratio()


def _id(value: Any, column: str) -> str:
    """An id of any type as text; a whole float, as tables with gaps hold integers, loses its .0."""
    if isinstance(value, list | dict | bytes):
        raise BadLine(f"{column} is not an id")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if _is_absent(value) else str(value).strip()
    if not text:
        raise BadLine(f"{column} is missing")
    if not is_well_formed(text):
        raise BadLine(f"{column} holds half a character")
    return text


def _title(value: Any, column: str) -> str | None:
    if _is_absent(value):
        return None
    if isinstance(value, list | dict | bytes):
        raise BadLine(f"{column} is not text")
    return str(value) if str(value).strip() else None


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


class _Clock:
    """Reads times as numbers that sort; the first one decides between numbers and dates."""

    def __init__(self) -> None:
        self._reads_dates: bool | None = None

    def read(self, value: Any, column: str) -> int | float:
        """A number as it is, or a date as microseconds since 1970."""
        if _is_absent(value) or not str(value).strip():
            raise BadLine(f"{column} is missing")
        number = _as_number(value)
        when = _as_microseconds(value) if number is None else number
        if when is None:
            raise BadLine(f"{column} is neither a number nor an ISO date: {str(value)!r}")
        self._keep_kind(column, is_date=number is None)
        return when

    def _keep_kind(self, column: str, *, is_date: bool) -> None:
        if self._reads_dates is None:
            self._reads_dates = is_date
        if self._reads_dates != is_date:
            found, others = ("date", "numbers") if is_date else ("number", "dates")
            raise BadLine(f"{column} is a {found} where the rows before have {others}")


def _as_number(value: Any) -> int | float | None:
    """The value as a finite number, if it is one or spells one; integers stay exact."""
    if isinstance(value, str):
        value = _spelled_number(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if abs(value) < _INT64_END else None
    return float(value) if isinstance(value, float | Decimal) and math.isfinite(value) else None


def _spelled_number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return None if "_" in text else kind(text)
        except ValueError:
            continue
    return None


def _as_microseconds(value: Any) -> int | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, datetime.min.time())
    if not isinstance(value, datetime):
        return None
    when = value if value.tzinfo else value.replace(tzinfo=UTC)
    return (when - _EPOCH) // _MICROSECOND


def _numbers(values: Sequence[int | float]) -> pl.Series:
    exact = all(isinstance(value, int) for value in values)
    return pl.Series(values, dtype=pl.Int64 if exact else pl.Float64)
