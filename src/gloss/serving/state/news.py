"""What a state knows that a data set does not: purchases and changed items, as files that the data
set can be joined with. They have the columns that it was read from, and its unit of time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Engine, select

from gloss.config import TableData
from gloss.data.dataset import Dataset
from gloss.errors import ConfigError
from gloss.serving.state.items import ItemChange, ItemChanges
from gloss.serving.state.tables import EVENTS

__all__ = ["News", "news_of"]

_PURCHASES, _ITEMS, _REMOVED = "purchases.parquet", "items.parquet", "removed.txt"

_UNITS = ((9, 1000, 1), (12, 1, 1), (15, 1, 1000), (18, 1, 1_000_000))
"""Seconds, milli-, micro- and nanoseconds: a time of 2001 to 2286 is 10^9 to 10^10 in seconds, and
so on; then what milliseconds are divided and multiplied by."""


@dataclass(frozen=True, slots=True)
class News:
    """Files of a folder; those that would hold nothing are not there."""

    folder: Path

    @property
    def interactions(self) -> tuple[str, ...]:
        """The purchases, as `gloss update --interactions` takes them."""
        return self._there(_PURCHASES)

    @property
    def items(self) -> tuple[str, ...]:
        """New items, and newer columns of known ones."""
        return self._there(_ITEMS)

    @property
    def removed(self) -> Path | None:
        """The ids of items that leave."""
        path = self.folder / _REMOVED
        return path if path.is_file() else None

    def __bool__(self) -> bool:
        return bool(self.interactions or self.items or self.removed)

    def _there(self, name: str) -> tuple[str, ...]:
        path = self.folder / name
        return (str(path),) if path.is_file() else ()


def news_of(engine: Engine, dataset: Dataset, folder: Path) -> News:
    """What the state knows beyond a data set, written to `folder`, which is there whole or not.

    Every event of an item that the data set or the state knows is among the purchases: joining
    counts one once that is known already. Raises ConfigError for a data set without real times, in
    which a purchase cannot be recognised.
    """
    changes = ItemChanges(engine).all().values()
    known = {item.id for item in dataset.catalogue("fair")}
    new = [change for change in changes if not change.removed and _is_news(change, known)]
    removed = sorted(change.item for change in changes if change.removed and change.item in known)
    kept = (known | {change.item for change in new}) - {*removed}
    tables = _tables_of(dataset)
    draft = folder.with_name(f".{folder.name}-{os.getpid()}")
    draft.mkdir(parents=True)
    purchases = _purchases(engine, dataset, tables, kept)
    if purchases.height:
        purchases.write_parquet(draft / _PURCHASES)
    if new:
        _items(new, tables).write_parquet(draft / _ITEMS)
    if removed:
        (draft / _REMOVED).write_text("".join(f"{item}\n" for item in removed), "utf-8")
    draft.rename(folder)
    return News(folder)


def _is_news(change: ItemChange, known: set[Any]) -> bool:
    """A new item, or columns of a known one; a known one keeps its title."""
    return change.columns is not None if change.item in known else change.title is not None


def _tables_of(dataset: Dataset) -> Mapping[str, Any]:
    """The names of the columns that further files must have."""
    own = (dataset.config.model_extra or {}) if dataset.config.source == "table" else {}
    names = {name: TableData.model_fields[name].default for name in ("user", "item", "time")}
    names |= {name: TableData.model_fields[name].default for name in ("title", "item_in_items")}
    names |= {name: own[name] for name in names if name in own}
    return {**names, "columns": own.get("columns") or ()}


def _purchases(
    engine: Engine, dataset: Dataset, names: Mapping[str, Any], kept: Iterable[str]
) -> pl.DataFrame:
    with engine.connect() as connection:
        query = select(EVENTS.c.user, EVENTS.c.item, EVENTS.c.at).order_by(EVENTS.c.number)
        rows = [tuple(row) for row in connection.execute(query)]
    events = pl.DataFrame(
        rows, schema={"user": pl.String, "item": pl.String, "at": pl.Int64}, orient="row"
    ).filter(pl.col("item").is_in([*kept]))
    if not events.height:
        return events
    return events.select(
        pl.col("user").alias(names["user"]),
        pl.col("item").alias(names["item"]),
        _in_unit_of(dataset, names).alias(names["time"]),
    )


def _in_unit_of(dataset: Dataset, names: Mapping[str, Any]) -> pl.Expr:
    """The column `at` in the data set's unit of time, told by its newest purchase."""
    newest = dataset.log().interactions.lazy().select(pl.col("time").max()).collect().item()
    for digits, divisor, factor in _UNITS:
        if names["time"] is not None and 10**digits <= newest < 10 ** (digits + 1):
            return pl.col("at") // divisor * factor
    raise ConfigError(
        "the times of the data set are no dates, so that a purchase of the state cannot be told "
        "from one that it has: write the new purchases to a file and give it as --interactions"
    )


def _items(changes: Iterable[ItemChange], names: Mapping[str, Any]) -> pl.DataFrame:
    """Every column of any of them; null for what stays as it is."""
    columns = sorted({name for change in changes for name in change.columns or ()})
    rows = [
        {
            names["item_in_items"] or names["item"]: change.item,
            names["title"]: change.title,
            **{name: (change.columns or {}).get(name) for name in (*names["columns"], *columns)},
        }
        for change in changes
    ]
    return pl.DataFrame(rows, infer_schema_length=None)
