"""Your own tables: purchases and titles in any format, with columns under any names.

Every format ends in raw columns; what is an id, a time or a title is decided here, in one place for
all of them. Knows nothing of splits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from gloss.config import TableData
from gloss.data.purchases import PurchaseLog, Workspace
from gloss.data.readers.conditions import condition_columns, rows_where, typed
from gloss.data.readers.dialects import DialectChoice
from gloss.data.readers.ids import MISSING, IdRule, canonical_ids
from gloss.data.readers.lines import BadLines
from gloss.data.readers.opening import LocalFile, open_table
from gloss.data.readers.raw import RawTable, Request
from gloss.data.readers.times import Clock, understand_times
from gloss.data.titles import has_words
from gloss.errors import InputError

__all__ = ["read_item_table", "read_tables"]

_NAMED = 3
_ROW = "__row"
_EVERYTHING = "*"


def read_tables(
    settings: TableData,
    interactions: Sequence[LocalFile],
    items: Sequence[LocalFile],
    *,
    workspace: Workspace | None = None,
) -> PurchaseLog:
    """Read purchases and titles; what the settings mean is said in `TableData`. Without files of
    the one or the other, there are none.

    A row is bad that lacks a user, item or time or is not whole; with `time=None` the order of the
    files is the order of time. A title of which nothing is left when it is cleaned is no title.

    Raises InputError when a file cannot be read, is empty or lacks a column, when ids or times are
    not to be trusted, or when more than `max_bad_lines` lines are bad.
    """
    workspace = workspace or Workspace()
    bad = BadLines(settings.max_bad_lines)
    log = _read_log(settings, interactions, bad, workspace.path) if interactions else _NO_LOG
    catalogue = _read_items(settings, items, bad, workspace.path) if items else _NO_ITEMS
    bad.check()
    counts = {
        "interaction rows": log.rows,
        **({"rows left out by the condition": log.left_out} if settings.where else {}),
        "item rows": catalogue.frame.height,
        "titles with half characters": bad.repaired,
        "bad lines": bad.count,
    }
    described = {
        "interactions": log.described,
        "times": log.clock,
        "items": catalogue.described,
    }
    described = {what: how for what, how in described.items() if how}
    return PurchaseLog(log.frame, catalogue.frame, counts, described, (), workspace)


def read_item_table(path: Path, *, item: str = "item", title: str = "title") -> pl.DataFrame:
    """Read items alone, every row whole and titled: columns item, title, in the file's order.

    Formats and errors as for `read_tables`.
    """
    settings = TableData(
        source="table", interactions=(), items=(str(path),), item=item, title=title
    )
    workspace = Workspace()
    bad = BadLines(0)
    file = LocalFile(Path(path), Path(path))
    table = _read_items(settings, [file], bad, workspace.path).frame
    bad.check()
    untitled = table.filter(pl.col("title").is_null())["item"].to_list()
    if untitled:
        raise InputError(f"{path}: {untitled[0]} has no title, and nothing else to be found by")
    return table


@dataclass(frozen=True, slots=True)
class _Log:
    """Purchases as read: user, item, time; rows: how many good ones there are."""

    frame: pl.LazyFrame
    rows: int
    left_out: int
    described: str
    clock: str


@dataclass(frozen=True, slots=True)
class _Items:
    """Items as read: item, title, and further columns."""

    frame: pl.DataFrame
    described: str


_NO_LOG = _Log(
    pl.LazyFrame(schema={"user": pl.String, "item": pl.String, "time": pl.Int64}), 0, 0, "", ""
)
_NO_ITEMS = _Items(pl.DataFrame(schema={"item": pl.String, "title": pl.String}), "")


def _rule(settings: TableData) -> IdRule:
    missing = MISSING if settings.missing is None else settings.missing
    return IdRule(missing, settings.drop_leading_zeros)


def _read_log(
    settings: TableData,
    files: Sequence[LocalFile],
    bad: BadLines,
    workspace: Path,
) -> _Log:
    said = DialectChoice(settings.delimiter, settings.quote, settings.header, settings.encoding)
    named = (settings.user, settings.item, *([settings.time] if settings.time else []))
    ids = (settings.user, settings.item)
    options = {settings.user: "--user", settings.item: "--item"}
    if settings.time:
        options[settings.time] = "--time"
    others = condition_columns(settings.where)
    request = Request(named, others, ids, named[1:], options=options)
    tables = [open_table(file, request, said, bad, workspace=workspace) for file in files]
    rows = _Rows.of(tables)
    pieces = []
    left_out = 0
    for table, first in zip(tables, rows.firsts, strict=True):
        frame = table.frame.with_row_index(_ROW, offset=first)
        if settings.where:
            kept = rows_where(
                frame, settings.where, spelled=table.spelled, decimal=settings.decimal
            )
            left_out += _height(frame) - _height(kept)
            frame = kept
        pieces.append(_canonical_log(frame, settings, str(table.path)))
    log = pl.concat(_one_type_of_time(pieces), how="vertical")
    log = _without_words_for_nothing(log, settings)
    if not _height(log):
        bad.check()
        shown = ", ".join(str(file.shown) for file in files)
        raise InputError(
            f"{shown} has no rows" + (" for which --where is true" if left_out else "")
        )
    clock = _clock(log, settings, rows)
    purchases, count = _good_purchases(log, settings, clock, rows, bad)
    understood = clock.understood if clock else "none: the order of the rows"
    return _Log(purchases, count, left_out, rows.described(), understood)


def _canonical_log(frame: pl.LazyFrame, settings: TableData, where: str) -> pl.LazyFrame:
    """Columns row, user, item and time (the row where there is none); ids are canonical."""
    time = pl.col(settings.time) if settings.time else pl.col(_ROW).cast(pl.Int64)
    frame = frame.select(
        pl.col(_ROW).alias("row"),
        pl.col(settings.user).alias("user"),
        pl.col(settings.item).alias("item"),
        time.alias("time"),
    )
    frame = _one_item_a_row(frame, settings.list_separator)
    labels = {"user": settings.user, "item": settings.item}
    return canonical_ids(frame, labels, _rule(settings), where)


def _one_item_a_row(frame: pl.LazyFrame, separator: str | None) -> pl.LazyFrame:
    """A row for each item where rows hold lists; times that are lists go along."""
    if separator is not None:
        frame = frame.with_columns(pl.col("item").cast(pl.String).str.strip_chars())
        frame = frame.filter(pl.col("item").is_not_null() & (pl.col("item") != ""))
        frame = frame.with_columns(pl.col("item").str.split(separator))
    schema = frame.collect_schema()
    lists = [name for name in ("item", "time") if isinstance(schema.get(name), pl.List | pl.Array)]
    return frame.explode(lists) if "item" in lists else frame


def _one_type_of_time(pieces: Sequence[pl.LazyFrame]) -> list[pl.LazyFrame]:
    """The same columns in all pieces: times of several types become numbers, or else text."""
    kinds = {piece.collect_schema()["time"] for piece in pieces}
    if len(kinds) == 1:
        return list(pieces)
    numeric = all(kind.is_numeric() for kind in kinds)
    target = pl.Float64 if numeric else pl.String
    return [piece.with_columns(pl.col("time").cast(target)) for piece in pieces]


def _clock(log: pl.LazyFrame, settings: TableData, rows: _Rows) -> Clock | None:
    if settings.time is None:
        return None

    def place(row: int) -> str:
        return rows.place(log.select("row").slice(row, 1).collect(engine="streaming").item())

    return understand_times(
        log.select("time"),
        settings.time,
        format=settings.time_format,
        unit=settings.time_unit,
        place=place,
    )


def _without_words_for_nothing(log: pl.LazyFrame, settings: TableData) -> pl.LazyFrame:
    """Times that are text, null where a word says so, with points for decimal commas."""
    if log.collect_schema()["time"] != pl.String:
        return log
    whole = pl.col("time").cast(pl.Int64, strict=False)
    if not log.select(whole.null_count()).collect(engine="streaming").item():
        return log  # as most logs are: nothing to strip, nothing to look up
    text = pl.col("time").str.strip_chars()
    is_known = ~text.is_in(["", *_rule(settings).missing])
    known: pl.Expr = pl.when(is_known).then(text)
    if settings.decimal == ",":
        known = known.str.replace(r"^(-?\d+),(\d+)$", "$1.$2")
    return log.with_columns(known.alias("time"))


def _good_purchases(
    log: pl.LazyFrame, settings: TableData, clock: Clock | None, rows: _Rows, bad: BadLines
) -> tuple[pl.LazyFrame, int]:
    """user, item and time of the rows that have all three, and how many; the others are noted."""
    times = clock.values if clock else pl.col("time")
    full = log.with_columns(times.alias("when"))
    lacks = pl.any_horizontal(pl.col("user", "item", "when").is_null())
    count, lacking = (
        full.select(pl.len(), lacks.sum().alias("lacks")).collect(engine="streaming").row(0)
    )
    if lacking:
        first = full.filter(lacks).head(_NAMED).collect(engine="streaming")
        for row in first.iter_rows(named=True):
            bad.add(*rows.file_and_line(row["row"]), _reason(row, settings, clock))
        bad.count += lacking - first.height
        full = full.filter(~lacks)
    return full.select("user", "item", time="when"), count - lacking


def _reason(row: dict[str, Any], settings: TableData, clock: Clock | None) -> str:
    for name, label in (("user", settings.user), ("item", settings.item)):
        if row[name] is None:
            return f"{label} is missing"
    if row["time"] is None or clock is None:
        return f"{settings.time} is missing"
    return clock.complaint(row["time"])


@dataclass(frozen=True, slots=True)
class _Rows:
    """Where the rows of several tables, numbered through, stand in their files."""

    tables: tuple[RawTable, ...]
    firsts: tuple[int, ...]

    @classmethod
    def of(cls, tables: Sequence[RawTable]) -> _Rows:
        firsts = [0]
        for table in tables:
            firsts.append(firsts[-1] + _height(table.frame))
        return cls(tuple(tables), tuple(firsts[:-1]))

    def file_and_line(self, row: int) -> tuple[Path, int]:
        which = bisect_right(self.firsts, row) - 1
        table = self.tables[which]
        return table.path, table.lines([row - self.firsts[which]])[0]

    def place(self, row: int) -> str:
        path, line = self.file_and_line(row)
        return f"{path}:{line}"

    def described(self) -> str:
        return _described(self.tables)


def _described(tables: Sequence[RawTable]) -> str:
    how = "; ".join(dict.fromkeys(table.described for table in tables))
    return how if len(tables) == 1 else f"{len(tables)} files, {how}"


def _read_items(
    settings: TableData,
    files: Sequence[LocalFile],
    bad: BadLines,
    workspace: Path,
) -> _Items:
    """Items in the order of their files: item, title (null for none), group and further columns."""
    said = _said_of_items(settings)
    item = settings.item_in_items or settings.item
    extras = [name for name in settings.columns if name != _EVERYTHING]
    group = [settings.group] if settings.group else []
    everything = _EVERYTHING in settings.columns
    options = {settings.title: "--title", item: "--item-in-items"}
    request = Request(
        (item, settings.title),
        (*group, *extras),
        (item,),
        everything=everything,
        options=options,
    )
    frames = []
    tables = []
    for file in files:
        table = open_table(file, request, said, bad, workspace=workspace)
        tables.append(table)
        frames.append(_canonical_items(table, item, settings, bad))
    catalogue = pl.concat(frames, how="diagonal_relaxed")
    if catalogue.is_empty():
        bad.check()
        raise InputError(f"{', '.join(str(file.shown) for file in files)} has no rows")
    return _Items(catalogue, _described(tables))


def _said_of_items(settings: TableData) -> DialectChoice:
    """What was said about items; if nothing was, what was said about purchases, if it fits."""
    own = DialectChoice(
        settings.items_delimiter,
        settings.items_quote,
        settings.items_header,
        settings.items_encoding,
    )
    if own != DialectChoice():
        return own
    inherited = (settings.delimiter, settings.quote, settings.header, settings.encoding)
    return DialectChoice(*inherited, is_inherited=True)


def _canonical_items(
    table: RawTable, item: str, settings: TableData, bad: BadLines
) -> pl.DataFrame:
    """Columns item, title, then group and others; rows without an id are noted and left out."""
    frame = table.frame.with_row_index(_ROW)
    kept = _further_columns(frame, item, settings, spelled=table.spelled)
    title = _as_title(frame.collect_schema()[settings.title], settings, table.path)
    chosen = frame.select(_ROW, pl.col(item).alias("item"), title.alias("title"), *kept)
    clean = canonical_ids(chosen, {"item": item}, _rule(settings), str(table.path))
    items = clean.collect(engine="streaming")
    lacking = items.filter(pl.col("item").is_null())
    for row in lacking[_ROW].head(_NAMED):
        bad.add(table.path, table.lines([row])[0], f"{item} is missing")
    bad.count += max(0, lacking.height - _NAMED)
    items = items.filter(pl.col("item").is_not_null()).drop(_ROW)
    return items.with_columns(_titles_with_words(items["title"], _rule(settings).missing))


def _as_title(kind: pl.DataType, settings: TableData, path: Path) -> pl.Expr:
    if kind.is_nested() or kind == pl.Object:
        raise InputError(f"{path}: {settings.title} is not text, it is {kind}")
    return pl.col(settings.title).cast(pl.String, strict=False)


def _further_columns(
    frame: pl.LazyFrame, item: str, settings: TableData, *, spelled: bool
) -> list[pl.Expr]:
    """The group and the other columns that are kept, typed, under names that are free."""
    names = [name for name in settings.columns if name != _EVERYTHING]
    if _EVERYTHING in settings.columns:
        known = (_ROW, item, settings.title, settings.group, *names)
        names += [name for name in frame.collect_schema().names() if name not in known]
    types = typed(frame, names, decimal=settings.decimal) if spelled else {}
    taken = {"item", "title"} | ({"group"} if settings.group else set())
    group = [pl.col(settings.group).cast(pl.String).alias("group")] if settings.group else []
    return group + [
        types.get(name, pl.col(name)).alias(f"{name}_" if name in taken else name)
        for name in dict.fromkeys(names)
    ]


def _titles_with_words(titles: pl.Series, missing: Sequence[str]) -> pl.Series:
    """The titles, null where nothing is left of them when they are cleaned."""
    stripped = titles.str.strip_chars()
    doubtful = ~stripped.str.contains("[A-Za-z0-9]") | stripped.str.contains("[<&]")
    empty = [
        text is None or text in missing or (doubt and not has_words(text))
        for text, doubt in zip(stripped, doubtful, strict=True)
    ]
    return (
        pl.select(pl.when(~pl.Series(empty, dtype=pl.Boolean)).then(titles))
        .to_series()
        .alias("title")
    )


def _height(frame: pl.LazyFrame) -> int:
    return int(frame.select(pl.len()).collect(engine="streaming").item())
