"""The prepared data set: catalogue, histories and splits, as one artefact of Parquet files.

Every reader (Amazon files, your own tables, the built-in shop) ends in a `PurchaseLog`; `prepare`
turns it into a `PreparedData`; `save` writes it; `Dataset` reads it back. Titles are stored as they
came: how they are cleaned is chosen where they are read (`Dataset.catalogue`), so one folder serves
both protocols.

    items.parquet        item, title
    histories.parquet    user, items                 everything, in order
    train.parquet        user, history, target       what a model may see, its last item as target
    validation.parquet   user, history, target
    test.parquet         user, history, target

The three splits have the same columns, so that other tools can load them as one data set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from gloss.artifacts import Artifact, creating, open_artifact
from gloss.data.catalogue import Catalogue, Item
from gloss.data.histories import Example, History
from gloss.data.splits import MIN_ITEMS, SplitRule, Splits, split_histories
from gloss.data.titles import TitleStyle, clean_title
from gloss.errors import InputError

__all__ = ["KIND", "Dataset", "PreparedData", "PurchaseLog", "SplitName", "prepare", "save"]

KIND = "dataset"

SplitName = Literal["validation", "test"]


@dataclass(frozen=True, slots=True)
class PurchaseLog:
    """Purchases and items as a reader found them, both in the order of their files.

    interactions: columns user (str), item (str), time (any sortable number); no nulls.
    items: columns item (str), title (str, null where there is none); an item may stand twice.
    counts: what the reader met on the way (lines, bad lines, …), for the summary.
    """

    interactions: pl.DataFrame
    items: pl.DataFrame
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PreparedData:
    """A log made clean: raw titles by item, histories by user id, splits, and what was counted."""

    items: pl.DataFrame
    histories: tuple[History, ...]
    splits: Splits
    summary: dict[str, int]


def prepare(
    log: PurchaseLog, *, split: SplitRule, min_purchases: int = 0, keep_unbought: bool = False
) -> PreparedData:
    """Clean a log, order it and split it; everything that is left out is counted in the summary.

    Items without a title leave the catalogue and the histories; of an item that stands twice the
    first title counts. Sequences are ordered by user id, then time; equal times keep the file's
    order; repeats stay. `min_purchases` keeps the k-core: users and items with at least that many
    purchases, until nothing more falls out. Items that nobody bought stay only with
    `keep_unbought`.

    Raises InputError when no item or no purchase is left.
    """
    items, item_counts = _one_title_each(log.items)
    bought, log_counts = _with_title_only(log.interactions, items)
    core = _k_core(bought, min_purchases)
    if not keep_unbought:
        items = items.join(
            core.select("item").unique(), on="item", how="semi", maintain_order="left"
        )
    if items.is_empty() or core.is_empty():
        raise InputError("nothing is left to recommend: no purchase of an item with a title")
    histories = _histories(core)
    splits = split_histories(histories, split)
    summary = {
        **log.counts,
        **item_counts,
        **log_counts,
        "purchases outside the k-core": bought.height - core.height,
        "users": len(histories),
        "purchases": core.height,
        "catalogue": items.height,
        "users with too few items": sum(len(history.items) < MIN_ITEMS for history in histories),
        "training users": len(splits.train),
        "validation users": len(splits.validation),
        "test users": len(splits.test),
    }
    return PreparedData(items, histories, splits, summary)


def save(
    data: PreparedData,
    path: Path,
    *,
    config: Mapping[str, Any],
    inputs: Mapping[str, str] | None = None,
) -> None:
    """Write prepared data as the artefact `path`; config and inputs record what they came from."""
    with creating(path, kind=KIND, config=config, inputs=inputs or {}) as draft:
        data.items.write_parquet(draft.path / "items.parquet")
        _sequences(data.histories).write_parquet(draft.path / "histories.parquet")
        _questions(_with_last_as_target(data.splits.train)).write_parquet(
            draft.path / "train.parquet"
        )
        _questions(data.splits.validation).write_parquet(draft.path / "validation.parquet")
        _questions(data.splits.test).write_parquet(draft.path / "test.parquet")
        draft.summary.update(data.summary)


class Dataset:
    """A prepared data set on disk.

    >>> Dataset.load(Path("data/toys")).catalogue("fair")  # doctest: +SKIP
    """

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self.path = artifact.path
        self.fingerprint = artifact.fingerprint
        self.summary: dict[str, int] = artifact.summary

    @classmethod
    def load(cls, path: Path) -> Dataset:
        """Open the folder that `gloss prepare` made; ArtifactError if it is not whole."""
        return cls(open_artifact(path, KIND))

    @property
    def name(self) -> str:
        """What the data are called in reports: a category, or the folder's name."""
        return str(self.artifact.config.get("name", self.path.name))

    @property
    def split(self) -> str:
        """The rule that the data were split by."""
        return str(self.artifact.config.get("split", "paper"))

    @property
    def is_synthetic(self) -> bool:
        """Whether the data are the built-in shop's."""
        return self.artifact.config.get("source") == "shop"

    def catalogue(self, style: TitleStyle) -> Catalogue:
        """The items, with titles cleaned in the given style."""
        frame = self._read("items")
        return Catalogue(Item(item, clean_title(title, style)) for item, title in frame.iter_rows())

    def histories(self) -> tuple[History, ...]:
        """Everybody's whole history, test items included: for serving, never for training."""
        return self._sequences("histories")

    def train(self) -> tuple[History, ...]:
        """What a model may see."""
        return tuple(History(e.user, (*e.history, e.target)) for e in self._examples("train", None))

    def examples(self, split: SplitName, *, limit: int | None = None) -> tuple[Example, ...]:
        """The questions of a split, or its first `limit` ones."""
        return self._examples(split, limit)

    def _examples(self, name: str, limit: int | None) -> tuple[Example, ...]:
        rows = self._read(name).head(limit) if limit is not None else self._read(name)
        return tuple(
            Example(user, tuple(history), target) for user, history, target in rows.iter_rows()
        )

    def _sequences(self, name: str) -> tuple[History, ...]:
        return tuple(History(user, tuple(items)) for user, items in self._read(name).iter_rows())

    def _read(self, name: str) -> pl.DataFrame:
        with self.artifact.reading():
            return pl.read_parquet(self.artifact.file(f"{name}.parquet"), glob=False)


def _one_title_each(items: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    titled = items.filter(pl.col("title").is_not_null())
    first = titled.unique("item", keep="first", maintain_order=True)
    titles_of_item = titled.group_by("item").agg(pl.col("title").n_unique())
    return first, {
        "items without a title": items["item"].n_unique() - first.height,
        "duplicate items": titled.height - first.height,
        "duplicate items with different titles": titles_of_item.filter(pl.col("title") > 1).height,
    }


def _with_title_only(log: pl.DataFrame, items: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    bought = log.join(items.select("item"), on="item", how="semi", maintain_order="left")
    return bought, {
        "purchases read": log.height,
        "users read": log["user"].n_unique(),
        "purchases of items without a title": log.height - bought.height,
        "users left without a purchase": log["user"].n_unique() - bought["user"].n_unique(),
    }


def _k_core(log: pl.DataFrame, least: int) -> pl.DataFrame:
    while least > 1:
        kept = log.filter((pl.len().over("item") >= least) & (pl.len().over("user") >= least))
        if kept.height == log.height:
            break
        log = kept
    return log


def _histories(log: pl.DataFrame) -> tuple[History, ...]:
    ordered = log.sort("user", "time", maintain_order=True)
    grouped = ordered.group_by("user", maintain_order=True).agg(pl.col("item"))
    return tuple(History(user, tuple(items)) for user, items in grouped.iter_rows())


def _sequences(histories: Sequence[History]) -> pl.DataFrame:
    columns = {"user": [h.user for h in histories], "items": [h.items for h in histories]}
    return pl.DataFrame(columns, schema={"user": pl.String, "items": pl.List(pl.String)})


def _with_last_as_target(histories: Sequence[History]) -> list[Example]:
    return [Example(h.user, h.items[:-1], h.items[-1]) for h in histories]


def _questions(examples: Sequence[Example]) -> pl.DataFrame:
    columns = {
        "user": [e.user for e in examples],
        "history": [e.history for e in examples],
        "target": [e.target for e in examples],
    }
    return pl.DataFrame(
        columns, schema={"user": pl.String, "history": pl.List(pl.String), "target": pl.String}
    )
