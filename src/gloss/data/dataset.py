"""The prepared data set: catalogue, histories and splits, as one artefact of Parquet files.

Every reader (Amazon files, your own tables, the built-in shop) ends in a `PurchaseLog`; `prepare`
turns it into a `PreparedData`; `write_dataset` writes it; `Dataset` reads it back. Titles are
stored as they came: how they are cleaned is chosen where they are read (`Dataset.catalogue`), so
one folder serves both protocols.

    catalogue.parquet    item, title, and any further columns
    histories.parquet    user, items, times          everything, in order; times as the log has them
    train.parquet        user, history, target       what a model may see, its last item as target
    validation.parquet   user, history, target
    test.parquet         user, history, target
    cold-items.parquet, cold-examples.parquet
                         where items are held out: as the catalogue, and as a split
    README.md            the card (data/card.py)

The three splits have the same columns, so that other tools can load them as one data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import ConfigDict, Field

from gloss.arrays import Ints
from gloss.artifacts import (
    Artifact,
    ArtifactConfig,
    ArtifactSummary,
    Draft,
    open_artifact,
    write_atomic,
)
from gloss.artifacts.content import parquet_rows, read_table, require
from gloss.choices import SplitName, SplitRule, TitleStyle
from gloss.data.card import data_card
from gloss.data.catalogue import Catalogue, Item, ItemId
from gloss.data.cold_items import ColdRule
from gloss.data.example_table import EXAMPLE_COLUMNS, ExampleTable
from gloss.data.histories import History
from gloss.data.history_rows import HistoryRows
from gloss.data.preparation import Cleaning, PreparedData, prepare, repeated_answers
from gloss.data.purchases import PurchaseLog
from gloss.data.repeats import RepeatedAnswers
from gloss.data.titles import clean_title
from gloss.errors import InputError

__all__ = [
    "KIND",
    "Cleaning",
    "ColdRule",
    "Dataset",
    "DatasetConfig",
    "DatasetSummary",
    "PreparedData",
    "PurchaseLog",
    "SplitName",
    "prepare",
    "write_dataset",
]

KIND = "dataset"
_COLD_ITEMS, _COLD_EXAMPLES = "cold-items", "cold-examples"
_COLUMNS: Mapping[str, Mapping[str, Any]] = {
    "catalogue": {"item": pl.String, "title": pl.String},
    _COLD_ITEMS: {"item": pl.String, "title": pl.String},
    "histories": {"user": pl.String, "items": pl.List(pl.String)},
}
_PURCHASES = ("items", "history")
_ROW_GROUP = 1 << 17
_BATCH_USERS = 1 << 17
_SAMPLE_SEED = 0


class DatasetConfig(ArtifactConfig):
    """Where the purchases came from and how they were split; besides, every setting of the source,
    which nobody reads back."""

    model_config = ConfigDict(extra="allow")
    omitted_if_none = frozenset({"name", "source"})

    name: str | None = None
    source: str | None = None
    split: SplitRule = "paper"


class DatasetSummary(ArtifactSummary):
    """How many there are; how files were understood, and what to look at."""

    users: int
    purchases: int
    catalogue: int
    training_users: int = Field(alias="training users")
    test_users: int = Field(alias="test users")
    read_as: dict[str, str] = Field({}, alias="read as")
    warnings: tuple[str, ...] = ()


def write_dataset(draft: Draft, data: PreparedData) -> None:
    """Fill the draft of a data set."""
    data.items.write_parquet(draft.path / "catalogue.parquet")
    for name, frame in (
        ("histories", data.histories.select("user", "items", "times")),
        ("train", data.splits.train),
        ("validation", data.splits.validation),
        ("test", data.splits.test),
    ):
        frame.sink_parquet(
            draft.path / f"{name}.parquet", row_group_size=_ROW_GROUP, compression_level=1
        )
    if data.cold:
        data.cold.items.write_parquet(draft.path / f"{_COLD_ITEMS}.parquet")
        data.cold.examples.sink_parquet(draft.path / f"{_COLD_EXAMPLES}.parquet")
    write_atomic(draft.path / "README.md", data_card(data.summary, data.split).encode())
    draft.summary.update(data.summary)


class Dataset:
    """A prepared data set on disk.

    >>> Dataset.load(Path("data/toys")).catalogue("fair")  # doctest: +SKIP
    """

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self.path = artifact.path
        self.fingerprint = artifact.fingerprint
        self.config = DatasetConfig.of(artifact)
        self.summary: dict[str, Any] = artifact.summary

    @classmethod
    def load(cls, path: Path) -> Dataset:
        """Open the folder that `gloss prepare` made; ArtifactError if it is not whole."""
        return cls(open_artifact(path, KIND))

    @property
    def name(self) -> str:
        """What the data are called in reports: a category, or the folder's name."""
        return self.config.name or self.path.name

    @property
    def split(self) -> SplitRule:
        """The rule that the data were split by."""
        return self.config.split

    @property
    def is_synthetic(self) -> bool:
        """Whether the data are the built-in shop's."""
        return self.config.source == "shop"

    @property
    def repeats(self) -> RepeatedAnswers:
        """How many of the answers that models may look at were bought before."""
        return repeated_answers(self.summary)

    def catalogue(self, style: TitleStyle) -> Catalogue:
        """The items, with titles cleaned in the given style."""
        frame = self._read("catalogue")
        others = [name for name in frame.columns if name not in ("item", "title")]
        columns = frame.select(others).iter_rows(named=True) if others else repeat({})
        return Catalogue(
            Item(item, clean_title(title, style), values)
            for (item, title), values in zip(
                frame.select("item", "title").iter_rows(), columns, strict=False
            )
        )

    @property
    def item_ids(self) -> tuple[ItemId, ...]:
        """The ids of the catalogue's items, in the order of the rows."""
        return tuple(self._items.to_list())

    def histories(self) -> tuple[History, ...]:
        """Everybody's whole history, test items included: for serving, never for training."""
        rows = self._read("histories").select("user", "items")
        return tuple(History(user, tuple(items)) for user, items in rows.iter_rows())

    def last_purchase(self) -> float | None:
        """The time of the newest purchase, test items included; None if an earlier version made
        the data set, without times."""
        with self.artifact.reading():
            file = self.artifact.file("histories.parquet")
            histories = pl.scan_parquet(file, glob=False)
            if "times" not in histories.collect_schema():
                return None
            times = histories.select(pl.col("times").list.max().max())
            last: float | None = times.collect(engine="streaming").item()
            return last

    def log(self) -> PurchaseLog:
        """Its purchases, user by user, and its items with their titles as they came: what it would
        be prepared from again. Raises InputError for a data set of an earlier version."""
        histories = self._read("histories")
        if "times" not in histories.columns:
            raise InputError(
                f"{self.path} holds no times, as an earlier version made it: prepare it again"
            )
        purchases = (
            histories.lazy().explode("items", "times").rename({"items": "item", "times": "time"})
        )
        return PurchaseLog(purchases, self._read("catalogue"), {})

    def train(self) -> tuple[History, ...]:
        """What a model may see."""
        examples = ExampleTable(self._read("train"))
        return tuple(History(e.user, (*e.history, e.target)) for e in examples)

    def train_rows(self) -> HistoryRows:
        """The same as arrays, with the rows of the catalogue: what rankers count. No more than
        `_BATCH_USERS` users are held as text."""
        return self._train_rows

    def times_bought(self) -> Ints:
        """int64 (catalogue,): how often a model may see each item, in the order of the rows."""
        times: Ints = np.bincount(self.train_rows().rows, minlength=len(self._items))
        return times

    def examples(self, split: SplitName, *, limit: int | None = None) -> ExampleTable:
        """The examples of a split, or `limit` of them, drawn at random, which alone are held: the
        same for everybody who asks for so many, and all of them among those of a larger limit."""
        return ExampleTable(self._read(split, limit))

    def example_parts(self, split: SplitName) -> Iterator[ExampleTable]:
        """The same, all of them, `_BATCH_USERS` at a time, which alone are held."""
        with self.artifact.reading():
            for part in self._batches(split):
                self._require_known(split, part)
                yield ExampleTable(part)

    @property
    def holds_out_items(self) -> bool:
        """Whether items are held out of everything (data/cold_items.py)."""
        return f"{_COLD_ITEMS}.parquet" in self.artifact.files

    def cold_items(self) -> PurchaseLog:
        """The log in which the items come that are held out: nobody has bought them yet."""
        with self.artifact.reading():
            items, histories = self._table(_COLD_ITEMS), self._table("histories")
        columns = {"user": pl.String, "item": pl.String, "time": histories["times"].dtype.inner}  # type: ignore[attr-defined]
        return PurchaseLog(pl.DataFrame(schema=columns), items, {})

    def cold_examples(self, *, limit: int | None = None) -> ExampleTable:
        """The examples whose answers are items that are held out, or `limit` of them, drawn as
        `examples` draws them."""
        with self.artifact.reading():
            return ExampleTable(self._table(_COLD_EXAMPLES, limit))

    def _read(self, name: str, limit: int | None = None) -> pl.DataFrame:
        with self.artifact.reading():
            frame = self._table(name, limit)
            if name != "catalogue":
                self._require_known(name, frame)
            return frame

    def _batches(self, name: str) -> Iterator[pl.DataFrame]:
        """The rows of a split, some users at a time, checked as `read_table` checks them."""
        file = self.artifact.file(f"{name}.parquet")
        for first in range(0, max(1, parquet_rows(file)), _BATCH_USERS):
            yield read_table(file, EXAMPLE_COLUMNS, first=first, count=_BATCH_USERS)

    def _table(self, name: str, limit: int | None = None) -> pl.DataFrame:
        columns = _COLUMNS.get(name, EXAMPLE_COLUMNS)
        file = self.artifact.file(f"{name}.parquet")
        rows = None if limit is None else _drawn(parquet_rows(file), limit)
        return read_table(file, columns, rows=rows)

    def _require_known(self, name: str, frame: pl.DataFrame) -> None:
        """Raise ValueError unless all purchases are of the catalogue's items."""
        parts = [frame[column].explode() for column in frame.columns if column in _PURCHASES]
        if "target" in frame.columns:
            parts.append(frame["target"])
        bought = pl.concat(parts).drop_nulls().unique()  # an empty list explodes to a null
        unknown = bought.filter(~bought.is_in(self._items.implode()))
        require(not len(unknown), name, "a purchase is of an item that the catalogue lacks")

    @cached_property
    def _train_rows(self) -> HistoryRows:
        with self.artifact.reading():
            parts = [_rows_of(part, self._items) for part in self._batches("train")]
        rows = np.concatenate([np.empty(0, np.int32), *(part.rows for part in parts)])
        lengths = np.concatenate([np.empty(0, np.int64), *(part.lengths for part in parts)])
        return HistoryRows(rows, lengths)

    @cached_property
    def _items(self) -> pl.Series:
        return self._table("catalogue")["item"]


def _drawn(rows: int, limit: int) -> Ints | None:
    """int64 (limit,), ascending; None where these would be all."""
    if limit >= rows:
        return None
    drawn: Ints = np.sort(np.random.default_rng(_SAMPLE_SEED).permutation(rows)[:limit])
    return drawn


def _rows_of(examples: pl.DataFrame, items: pl.Series) -> HistoryRows:
    """Histories with their targets behind them, as rows among the items.

    ValueError for a purchase of another item.
    """
    histories = examples.select(pl.concat_list("history", "target"))["history"]
    purchases = histories.explode()
    rows = purchases.cast(pl.Enum(items), strict=False).to_physical()
    require(not rows.null_count(), "train", "a purchase is of an item that the catalogue lacks")
    lengths: Ints = histories.list.len().cast(pl.Int64).to_numpy()
    return HistoryRows(rows.cast(pl.Int32).to_numpy(), lengths)
