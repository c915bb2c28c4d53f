"""Opening any file as a raw table: by what it holds first, then by its name.

The one place that knows all formats.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from gloss.data.readers.columnar import read_excel, read_feather, read_parquet
from gloss.data.readers.delimited import read_delimited
from gloss.data.readers.dialects import DialectChoice
from gloss.data.readers.json_rows import read_json
from gloss.data.readers.lines import BadLines, input_errors
from gloss.data.readers.plain_text import opened
from gloss.data.readers.raw import RawTable, Request

__all__ = ["LocalFile", "open_table"]

_MAGIC = 6


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file to be read. shown: what a person calls it; constants: columns that the names of its
    folders give (`date=2024-05-01/part-0.parquet`)."""

    path: Path
    shown: Path
    constants: tuple[tuple[str, str], ...] = ()


def open_table(
    file: LocalFile, request: Request, said: DialectChoice, bad: BadLines, *, workspace: Path
) -> RawTable:
    """The wanted columns of a file of any format; rows that cannot be read are noted in `bad`.

    Raises InputError when it cannot be read or lacks a column.
    """
    constants = dict(file.constants)
    without = replace(
        request,
        needed=tuple(name for name in request.needed if name not in constants),
        others=tuple(name for name in request.others if name not in constants),
    )
    table = _opened(file, without, said, bad, workspace)
    wanted = {*request.needed, *request.others}
    added = [pl.lit(v).alias(k) for k, v in constants.items() if k in wanted or request.everything]
    return replace(table, frame=table.frame.with_columns(added), path=file.shown)


def _opened(
    file: LocalFile, request: Request, said: DialectChoice, bad: BadLines, workspace: Path
) -> RawTable:
    with input_errors(file.shown):
        start = _start(file.path)
        path = file.path
        if start.startswith((b"PAR1", b"ARROW1")) and not _starts_so(path, start):
            path = _unpacked(path, workspace)
    if start.startswith(b"PAR1") or file.path.suffix.lower() == ".parquet":
        return read_parquet(path, request)
    if start.startswith(b"ARROW1") or file.path.suffix.lower() in (".arrow", ".feather", ".ipc"):
        return read_feather(path, request)
    if _is_excel(file.path):
        return read_excel(path, request)
    if start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[") or _is_named_json(file.path):
        return read_json(
            path, request, bad, workspace=workspace, shown=file.shown, encoding=said.encoding
        )
    return read_delimited(path, request, said, bad, workspace=workspace, shown=file.shown)


def _start(path: Path) -> bytes:
    if _is_excel(path):
        return b""
    with opened(path) as stream:
        return stream.read(_MAGIC)


def _starts_so(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start


def _unpacked(path: Path, workspace: Path) -> Path:
    target = workspace / f"unpacked-{len(list(workspace.iterdir()))}"
    with opened(path) as source, target.open("wb") as out:
        shutil.copyfileobj(source, out)
    return target


def _is_excel(path: Path) -> bool:
    return path.suffix.lower() in (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods")


def _is_named_json(path: Path) -> bool:
    return any(suffix.lower() in (".json", ".jsonl", ".ndjson") for suffix in path.suffixes[-2:])
