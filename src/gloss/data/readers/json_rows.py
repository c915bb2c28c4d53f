"""JSON to columns: an object a line, or one array of objects; Python literals as some mirrors have.

Values become text, which is typed later by what it spells; lists stay lists where ids are wanted.
What MongoDB exports ({"$date": …}, {"$oid": …}) is unwrapped.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from gloss.data.readers.lines import (
    BadLine,
    BadLines,
    input_errors,
    is_well_formed,
    json_object,
    parse_lines,
    repair_text,
)
from gloss.data.readers.plain_text import PlainText, plain_text
from gloss.data.readers.raw import RawTable, Request, require_columns
from gloss.errors import InputError

__all__ = ["read_json"]

_ROWS_AT_ONCE = 100_000

Entry = dict[str, Any]


def read_json(
    path: Path,
    request: Request,
    bad: BadLines,
    *,
    workspace: Path,
    shown: Path,
    encoding: str | None = None,
) -> RawTable:
    """Read the wanted columns of JSON Lines or of a JSON array, in the order of the file.

    Raises InputError when the file cannot be read, or no row has a column.
    """
    with input_errors(shown):
        text = plain_text(path, workspace, encoding=encoding)
        is_array = _first_letter(text.path) == "["
    whole = None if is_array else _whole_document(text, request.needed)
    if whole is not None:
        entries: Iterable[tuple[int, Entry]] = enumerate(whole, 1)
    else:
        entries = _array(text, shown) if is_array else _lines(text, shown, bad)
    found: dict[str, None] = {}
    numbers: list[int] = []
    folder = workspace / f"json-{len(list(workspace.iterdir()))}"
    folder.mkdir()
    names = None if request.everything else (*request.needed, *request.others)
    reader = _Reader(request, names, bad)
    for part, batch in enumerate(_batches(entries)):
        rows = []
        for number, entry in batch:
            found.update(dict.fromkeys(entry))
            try:
                rows.append(reader.row(entry))
            except BadLine as reason:
                bad.add(shown, number, str(reason))
            else:
                numbers.append(number)
        reader.frame(rows, found).write_parquet(folder / f"{part:05}.parquet")
    require_columns(request.needed if found else (), list(found), shown, request.options)
    frame = _joined(sorted(folder.iterdir()), request)
    kind = "a JSON array" if is_array else "JSON lines" if whole is None else "a JSON document"
    described = f"{kind}, {text.encoding}"
    return RawTable(shown, frame, True, described, lambda rows: [numbers[row] for row in rows])


def _first_letter(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(4096).lstrip("\ufeff \t\r\n")[:1]


def _whole_document(text: PlainText, needed: Sequence[str]) -> list[Entry] | None:
    """The rows of a text that is one object: a list of rows under some name, or columns.

    None for JSON Lines, whose first line is an object with the columns.
    """
    with text.path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline()
        with suppress(BadLine):
            values = [json_object(first).get(name) for name in needed]
            has_columns = any(value is not None for value in values)
            if has_columns and not all(_is_column(value) for value in values):
                return None
        if first.strip() not in ("{", "") and file.readline().strip():
            return None
    try:
        document = json.loads(text.path.read_text("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    lists = [value for value in document.values() if _is_list_of_rows(value)]
    if len(lists) == 1 and not set(needed) <= set(document):
        return list(lists[0])
    columns = {name: _column(value) for name, value in document.items() if _is_column(value)}
    lengths = {len(columns[name]) for name in needed if name in columns}
    if set(needed) <= set(columns) and len(lengths) == 1:
        fitting = {name: values for name, values in columns.items() if {len(values)} == lengths}
        return [dict(zip(fitting, row, strict=True)) for row in zip(*fitting.values(), strict=True)]
    return None


def _is_list_of_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _is_column(value: Any) -> bool:
    """A list of values, or values by the index that pandas writes."""
    return isinstance(value, list) or (
        isinstance(value, dict) and bool(value) and not any(key.startswith("$") for key in value)
    )


def _column(value: Any) -> list[Any]:
    return value if isinstance(value, list) else list(value.values())


def _lines(text: PlainText, shown: Path, bad: BadLines) -> Iterator[tuple[int, Entry]]:
    return parse_lines(text.path, _entry, bad, shown=shown)


def _entry(text: str) -> Entry:
    """An object of JSON; or a Python literal, never evaluated."""
    stripped = text.strip().rstrip(",")
    if stripped.startswith(("{'", "{u'")):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            entry = ast.literal_eval(stripped)
            if isinstance(entry, dict):
                return entry
        raise BadLine("neither JSON nor a Python literal")
    return json_object(text)


def _array(text: PlainText, shown: Path) -> Iterator[tuple[int, Entry]]:
    """The objects of an array, by their place in it from 1."""
    try:
        entries = json.loads(text.path.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{shown} is not whole JSON: {error}") from None
    for place, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise InputError(f"{shown}: entry {place} of the array is not an object with fields")
        yield place, entry


def _batches(entries: Iterable[tuple[int, Entry]]) -> Iterator[list[tuple[int, Entry]]]:
    rest = iter(entries)
    while batch := list(islice(rest, _ROWS_AT_ONCE)):
        yield batch


class _Reader:
    """Turns entries into rows of text, and rows into frames."""

    def __init__(self, request: Request, names: Sequence[str] | None, bad: BadLines) -> None:
        self._ids = frozenset(request.ids)
        self._lists = frozenset(request.lists)
        self._names = names
        self._bad = bad

    def row(self, entry: Entry) -> Entry:
        names = entry if self._names is None else self._names
        return {name: self._value(name, _unwrapped(entry.get(name))) for name in names}

    def frame(self, rows: Sequence[Entry], found: Iterable[str]) -> pl.DataFrame:
        names = list(found) if self._names is None else list(dict.fromkeys(self._names))
        columns = {name: [row.get(name) for row in rows] for name in names}
        return pl.DataFrame(
            {
                name: pl.Series(values, dtype=_type_of(values), strict=True)
                for name, values in columns.items()
            }
        )

    def _value(self, name: str, value: Any) -> str | list[str | None] | None:
        if isinstance(value, list) and name in self._lists:
            return [self._single(name, _unwrapped(each)) for each in value]
        return self._single(name, value)

    def _single(self, name: str, value: Any) -> str | None:
        if name in self._ids:
            return _id(name, value)
        text = _text(value)
        if text is not None and not is_well_formed(text):
            self._bad.repaired += 1
            text = repair_text(text)
        return text


def _type_of(values: Sequence[Any]) -> pl.DataType:
    has_lists = any(isinstance(value, list) for value in values)
    return pl.List(pl.String()) if has_lists else pl.String()


def _id(name: str, value: Any) -> str | None:
    if isinstance(value, list | dict):
        raise BadLine(f"{name} is not an id")
    text = _text(value)
    if text is not None and not is_well_formed(text):
        raise BadLine(f"{name} holds half a character")
    return text


def _unwrapped(value: Any) -> Any:
    """The value in an object of one key that begins with $, as MongoDB exports them."""
    while isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith("$"):
        value = next(iter(value.values()))
    return value


def _text(value: Any) -> str | None:
    """A value as text: lists of plain values with bars between them, other ones as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list) and not any(isinstance(each, list | dict) for each in value):
        return "|".join(_text(each) or "" for each in value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def _joined(parts: Sequence[Path], request: Request) -> pl.LazyFrame:
    """All parts as one; a column that is a list in one of them is a list in all."""
    frames = [pl.scan_parquet(part, glob=False) for part in parts]
    if not frames:
        return pl.LazyFrame(schema=dict.fromkeys(request.needed, pl.String))
    schemas = [frame.collect_schema() for frame in frames]
    lists = {name for schema in schemas for name, kind in schema.items() if kind == pl.List}
    wrapped = [
        frame.with_columns(
            pl.concat_list(name)
            for name, kind in schema.items()
            if name in lists and kind != pl.List
        )
        for frame, schema in zip(frames, schemas, strict=True)
    ]
    return pl.concat(wrapped, how="diagonal")
