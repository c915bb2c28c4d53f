"""Lists that another program has made, as a table of (user, item, score or rank) in any format.

Formats are those of purchases (data/readers); besides, TREC runs are known by their "Q0", and the
columns of RecTools (user_id, item_id, score, rank) and RecBole (user_id:token, …) by their names.
Knows no data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import polars as pl

from gloss.data.purchases import Workspace
from gloss.data.readers.dialects import DialectChoice
from gloss.data.readers.ids import IdRule, canonical_ids
from gloss.data.readers.lines import BadLines, input_errors
from gloss.data.readers.opening import LocalFile, open_table
from gloss.data.readers.plain_text import opened
from gloss.data.readers.raw import RawTable, Request, require_columns
from gloss.errors import InputError

__all__ = ["BY_NAME", "ListColumns", "ListedItems", "read_lists"]

_USUAL = {
    "user": ("user", "user_id", "userid", "uid", "qid", "query_id"),
    "item": ("item", "item_id", "itemid", "iid", "docid", "doc_id"),
    "score": ("score", "scores", "prediction"),
    "rank": ("rank", "position"),
}
"""What columns are usually called, in any case of letters."""

_NAMED = 3


@dataclass(frozen=True, slots=True)
class ListColumns:
    """The columns of a file; None: by their usual names."""

    user: str | None = None
    item: str | None = None
    score: str | None = None
    rank: str | None = None


BY_NAME = ListColumns()
_TREC = ListColumns("1", "3", "5", "4")


@dataclass(frozen=True, slots=True)
class ListedItems:
    """Lists as they stand in a file. entries: user, item and score, list by list in the order of
    the first entries, each best first; repeated: entries of an item that its list holds before;
    described: how the file was read."""

    entries: pl.DataFrame
    repeated: int
    described: str


def read_lists(
    path: Path,
    columns: ListColumns = BY_NAME,
    *,
    delimiter: str | None = None,
    rule: IdRule,
) -> ListedItems:
    """Read ranked lists; where a file has ranks, they are the order, or else the scores.

    Equal ranks or scores stand in the order of the file. Raises InputError when the file cannot be
    read, lacks a column, or has a row without a user, an item or a number.
    """
    workspace = Workspace()
    said = DialectChoice(delimiter)
    if columns == BY_NAME and (trec := _trec_delimiter(path)):
        columns, said = _TREC, DialectChoice(delimiter or trec, "", header=False)
    bad = BadLines(0)
    names = tuple(name for name in _said(columns) if name)
    request = Request(names, everything=True)
    table = open_table(LocalFile(path, path), request, said, bad, workspace=workspace.path)
    bad.check()
    found = _found(columns, table)
    rows = _rows(table, found, rule)
    _require_whole(rows, table, found)
    ordered = _ordered(rows, found)
    distinct = ordered.unique(["user", "item"], keep="first", maintain_order=True)
    repeated = ordered.height - distinct.height
    return ListedItems(distinct.select("user", "item", "score"), repeated, table.described)


def _said(columns: ListColumns) -> Sequence[str | None]:
    return [getattr(columns, field.name) for field in fields(columns)]


def _trec_delimiter(path: Path) -> str | None:
    """What stands between the columns of a TREC run; None for any other file."""
    with input_errors(path), opened(path) as stream:
        start = stream.readline(4096)
    words = start.split()
    if len(words) != 6 or words[1].upper() != b"Q0":
        return None
    return "\t" if b"\t" in start else " "


def _found(columns: ListColumns, table: RawTable) -> ListColumns:
    """The columns by name: as said, or the usual ones."""
    there = table.frame.collect_schema().names()
    by_lower = {name.lower(): name for name in reversed(there)}
    usual = {
        what: next((by_lower[name] for name in names if name in by_lower), None)
        for what, names in _USUAL.items()
    }
    said = zip(_USUAL, _said(columns), strict=True)
    found = ListColumns(*(name or usual[what] for what, name in said))
    if found.user is None or found.item is None:
        missing = "user" if found.user is None else "item"
        named = ", ".join(map(repr, there[:20]))
        raise InputError(f"{table.path} has no column {missing!r}; it has {named}: say --{missing}")
    if found.score is None and found.rank is None:
        named = ", ".join(map(repr, there[:20]))
        raise InputError(
            f"{table.path} has neither scores nor ranks; it has {named}: say --score or --rank"
        )
    require_columns([name for name in _said(found) if name], there, table.path)
    return found


def _rows(table: RawTable, found: ListColumns, rule: IdRule) -> pl.DataFrame:
    """row, user, item, and score and rank as numbers; null where there is none."""
    numbers = [
        pl.col(name).cast(pl.Float64, strict=False).fill_nan(None).alias(what)
        for what, name in (("score", found.score), ("rank", found.rank))
        if name
    ]
    assert found.user is not None
    assert found.item is not None
    frame = table.frame.with_row_index("row").select(
        "row", pl.col(found.user).alias("user"), pl.col(found.item).alias("item"), *numbers
    )
    labels = {"user": found.user, "item": found.item}
    return canonical_ids(frame, labels, rule, str(table.path)).collect()


def _require_whole(rows: pl.DataFrame, table: RawTable, found: ListColumns) -> None:
    bad = BadLines(0)
    lacking = rows.filter(pl.any_horizontal(pl.all().is_null()))
    for row in lacking.head(_NAMED).iter_rows(named=True):
        what = next(name for name, value in row.items() if value is None)
        reason = "is missing" if what in ("user", "item") else "is not a number"
        bad.add(table.path, table.lines([row["row"]])[0], f"{getattr(found, what)} {reason}")
    if lacking.height:
        lines = f"{lacking.height} rows" if lacking.height > 1 else "1 row"
        raise InputError(f"{lines} of {table.path} cannot be used: {'; '.join(bad.named)}")
    if rows.is_empty():
        raise InputError(f"{table.path} has no rows")


def _ordered(rows: pl.DataFrame, found: ListColumns) -> pl.DataFrame:
    """List by list, best first; a file with ranks alone gets scores that fall with them."""
    order = pl.col("rank") if found.rank else -pl.col("score")
    if not found.score:
        rows = rows.with_columns((-pl.col("rank")).alias("score"))
    first = pl.col("row").min().over("user")
    return rows.sort(first, order, maintain_order=True)
