"""A data set and what has happened since, as one log: the purchases and items that a shop adds.

The joined log is what would have been read, had all of it been there at once; `prepare` makes a
data set of it. Knows data sets and logs; no bundle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import polars as pl

from gloss.data.catalogue import ItemId
from gloss.data.dataset import Cleaning, Dataset, DatasetConfig
from gloss.data.purchases import PurchaseLog
from gloss.errors import ConfigError, InputError

__all__ = ["cleaning_of", "joined_log"]

_NAMED = 3
_LEAVE_OUT = ("min_purchases", "min_user_purchases", "min_item_purchases")


def joined_log(old: Dataset, new: PurchaseLog, removed: Collection[ItemId] = ()) -> PurchaseLog:
    """The log of a data set, then a new one; without the items that are removed.

    A purchase that the data set has (same user, item and time) counts once, so that a log may begin
    before the other ends. Where the order of the rows is the time, new rows follow the old ones.
    New items stand behind the old ones. An item that stands in both keeps its title; of its other
    columns the newest value counts.

    Raises InputError for a new item without a title, a removed one that nobody knows, purchases of
    unknown items only, and times that are older than all that the data set has.
    """
    known = old.log()
    items = _items(known.items, new.items, removed)
    since, repeated = _since(known.interactions.lazy(), new.interactions.lazy(), old.config)
    warnings = [*new.warnings, *_unknown(since, items, _unknown_share(old.config))]
    purchases = pl.concat([known.interactions.lazy(), since.lazy()], how="vertical_relaxed")
    counts = {
        **new.counts,
        "purchases known already": repeated,
        "new purchases": since.height,
        "new items": items.height + len(removed) - known.items.height,
        "removed items": len(removed),
    }
    return PurchaseLog(purchases, items, counts, new.described, tuple(warnings), new.workspace)


def cleaning_of(old: DatasetConfig) -> Cleaning:
    """How the joined log is cleaned: as the data set was, and items that nobody bought stay.

    Raises ConfigError where the data set left out purchases that would count now.
    """
    settings = old.model_extra or {}
    least = [name for name in _LEAVE_OUT if (settings.get(name) or 0) > 1]
    if least:
        raise ConfigError(
            f"the data set leaves out whom and what is bought too seldom ({', '.join(least)}), and "
            "keeps nothing of it: with more purchases it would be another one; fit anew with "
            "`gloss fit` on the whole log, without these settings if it is to be updated later"
        )
    # What of the new log is unknown is warned of here, by its share of that log.
    return Cleaning(
        drop_repeats=bool(settings.get("drop_repeats")), keep_unbought=True, unknown_share=1.0
    )


def _items(old: pl.DataFrame, new: pl.DataFrame, removed: Collection[ItemId]) -> pl.DataFrame:
    """Old items, then new ones, each once, without those that are removed."""
    both = set(removed) & {*new["item"]}
    if both:
        raise InputError(f"removed and among the new items: {_named(sorted(both))}")
    unknown = [item for item in removed if item not in {*old["item"]}]
    if unknown:
        raise InputError(f"not in the catalogue, and cannot be removed: {_named(unknown)}")
    untitled = new.filter(pl.col("title").is_null() & ~pl.col("item").is_in(old["item"].implode()))
    if untitled.height:
        raise InputError(
            f"new items without a title, and nothing else to be found by: "
            f"{_named(untitled['item'].to_list())}"
        )
    kept = old.filter(~pl.col("item").is_in([*removed]))
    try:
        joined = pl.concat([kept, new], how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise InputError(f"columns of the new items are of another type: {error}") from None
    others = [name for name in joined.columns if name not in ("item", "title")]
    return joined.group_by("item", maintain_order=True).agg(
        pl.col("title").drop_nulls().first(), *(pl.col(o).drop_nulls().last() for o in others)
    )


def _since(old: pl.LazyFrame, new: pl.LazyFrame, config: DatasetConfig) -> tuple[pl.DataFrame, int]:
    """The purchases of the new log that the old one lacks, and how many it has."""
    first, last = old.select(first=pl.col("time").min(), last=pl.col("time").max()).collect().row(0)
    added = new.select("user", "item", "time").collect(engine="streaming")
    if added.is_empty():
        return added, 0
    if _is_in_order(config):
        return added.with_columns(pl.col("time") + (last + 1)), 0
    newest: Any = added["time"].max()
    if newest < first:
        raise InputError(
            f"all new purchases are older than those of the data set (their times end at {newest}, "
            f"where it has {first} to {last}): write times in the unit that it has"
        )
    both = pl.concat([old.head(0), added.lazy().head(0)], how="vertical_relaxed")
    columns = dict(both.collect_schema())  # whole and broken numbers are compared as numbers
    lacking = added.cast(columns).join(  # type: ignore[arg-type]
        old.cast(columns).collect(),  # type: ignore[arg-type]
        on=list(columns),
        how="anti",
        maintain_order="left",
    )
    return lacking, added.height - lacking.height


def _is_in_order(config: DatasetConfig) -> bool:
    """Whether the order of the rows is the time."""
    settings = config.model_extra or {}
    return config.source == "table" and settings.get("time", "") is None


def _unknown_share(config: DatasetConfig) -> float:
    return float((config.model_extra or {}).get("unknown_share", Cleaning().unknown_share))


def _unknown(purchases: pl.DataFrame, items: pl.DataFrame, share: float) -> Iterator[str]:
    """A warning if too many purchases are of items that the catalogue lacks."""
    unknown = purchases.filter(~pl.col("item").is_in(items["item"].implode()))
    if unknown.height <= share * purchases.height:
        return
    theirs, ours = unknown["item"].unique(maintain_order=True), items["item"]
    said = f"they name {_named(theirs)}, and the catalogue has {_named(ours)}"
    if unknown.height == purchases.height:
        raise InputError(f"no new purchase is of an item of the catalogue: {said}")
    yield (
        f"{unknown.height / purchases.height:.1%} of the new purchases name items that the "
        f"catalogue lacks: {said}"
    )


def _named(ids: Sequence[Any] | pl.Series) -> str:
    more = len(ids) - _NAMED
    return ", ".join(map(repr, ids[:_NAMED])) + (f" and {more:,} more" if more > 0 else "")
