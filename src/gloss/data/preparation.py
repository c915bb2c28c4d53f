"""From a log of purchases to histories and splits, in bounded memory.

Ids become numbers, users in the order of their ids; the log is sorted by user and time in pieces of
whole users that fit into memory; the pieces are files. No user is ever a Python object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from gloss.data.cold_items import ColdItems, ColdRule, cold_examples
from gloss.data.purchases import PurchaseLog, Workspace
from gloss.data.repeats import MIN_ANSWERS, RepeatedAnswers
from gloss.data.splits import MIN_ITEMS, SplitRule, Splits, held_out, split_histories
from gloss.errors import InputError

__all__ = ["LEFT_OUT", "Cleaning", "PreparedData", "prepare", "repeated_answers"]

LEFT_OUT = (
    "bad lines",
    "rows left out by the condition",
    "titles with half characters",
    "items without a title",
    "duplicate items",
    "duplicate items with different titles",
    "purchases of items without a title",
    "of them of items that the catalogue lacks",
    "users left without a purchase",
    "repeats dropped",
    "purchases outside the k-core",
    "users with too few items",
)
"""What a summary counts of the log that is not in the data set, or not as it was."""

_BUY_AGAIN = "who buy again what they had"
"""Ends the name of a count of users."""

_TWO_PURCHASES = "training users with two purchases"

_PURCHASES_AT_ONCE = 5_000_000
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What is left out of a log. min_purchases: the k-core, users and items with at least that
    many, until nothing more falls out; min_user_purchases, min_item_purchases: the same for one
    side, once; drop_repeats: purchases of what the same user bought just before; keep_unbought:
    items that nobody bought stay; unknown_share: purchases of unknown items above it are warned
    of."""

    min_purchases: int = 0
    min_user_purchases: int = 0
    min_item_purchases: int = 0
    drop_repeats: bool = False
    keep_unbought: bool = False
    unknown_share: float = 0.05


@dataclass(frozen=True, slots=True)
class PreparedData:
    """A log made clean. items: item, title and other columns, in order; histories: user, items,
    times, held_out, by user id; summary: what was counted, how files were understood, warnings;
    cold: what is held out of both, where something is."""

    items: pl.DataFrame
    histories: pl.LazyFrame
    summary: dict[str, Any]
    workspace: Workspace
    split: SplitRule
    cold: ColdItems | None = None

    @property
    def splits(self) -> Splits:
        """Who is trained on, validated and tested, lazily."""
        return split_histories(self.histories, self.split)


def prepare(
    log: PurchaseLog,
    *,
    split: SplitRule,
    cleaning: Cleaning = Cleaning(),
    cold: ColdRule | None = None,
) -> PreparedData:
    """Clean a log, order it and split it; everything that is left out is counted in the summary.

    cold: which items of the clean log are held out, with all of their purchases.

    Items without a title leave the catalogue and the histories; of an item that stands twice the
    first title counts. Sequences are ordered by user id, then time; equal times keep the file's
    order; repeats stay unless `drop_repeats`.

    Raises InputError when no item or no purchase is left.
    """
    workspace = log.workspace or Workspace()
    items, item_counts = _one_title_each(log.items)
    purchases = log.interactions.lazy()
    coded = _Coded.written(purchases, items, workspace.path)
    log_counts, warnings = _what_is_known(coded, purchases, items, log.items, cleaning)
    if coded.known == 0:
        raise InputError(
            "nothing is left to recommend: no purchase of an item with a title. "
            + _examples(coded, purchases, log.items)
        )
    sorted_log = _SortedLog.written(coded, workspace.path, drop_repeats=cleaning.drop_repeats)
    core = _core(sorted_log, cleaning)
    if core.purchases == 0:
        raise InputError(
            "nothing is left to recommend: nobody and nothing has as many purchases as "
            "min_purchases asks for"
        )
    kept = np.ones(items.height, np.bool_) if cleaning.keep_unbought else core.item_counts > 0
    core_purchases, held_out = core.purchases, None
    if cold:
        drawn = cold.drawn(core.item_counts > 0)
        everything = _histories(sorted_log, core, coded, workspace.path / "whole", split)
        of_drawn = items.filter(pl.Series(drawn))
        held_out = ColdItems(of_drawn, cold_examples(everything, of_drawn["item"]))
        core, kept = core.without(sorted_log, drawn), kept & ~drawn
    items = items.filter(pl.Series(kept))
    histories = _histories(sorted_log, core, coded, workspace.path / "kept", split)
    counts = {
        **log.counts,
        **item_counts,
        **log_counts,
        **({"repeats dropped": sorted_log.repeats} if cleaning.drop_repeats else {}),
        "purchases outside the k-core": sorted_log.purchases - core_purchases,
        **_counted(histories, items.height, split),
        **(held_out.counted(core_purchases - core.purchases) if held_out else {}),
    }
    warnings = [*log.warnings, *warnings, *_vain_protocol(counts, split), *_bought_again(counts)]
    summary: dict[str, Any] = dict(counts)
    if log.described:
        summary["read as"] = dict(log.described)
    if warnings:
        summary["warnings"] = warnings
    return PreparedData(items, histories, summary, workspace, split, held_out)


def _one_title_each(items: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    titled = items.filter(pl.col("title").is_not_null())
    first = titled.unique("item", keep="first", maintain_order=True)
    titles_of_item = titled.group_by("item").agg(pl.col("title").n_unique())
    return first, {
        "items without a title": items["item"].n_unique() - first.height,
        "duplicate items": titled.height - first.height,
        "duplicate items with different titles": titles_of_item.filter(pl.col("title") > 1).height,
    }


@dataclass(frozen=True, slots=True)
class _Coded:
    """The log with numbers for ids, at `path`, in its order: user (place among all sorted ids),
    item (row of the titled items) and time; purchases of items without a title are not in it."""

    path: Path
    users: pl.Series
    items: pl.Series
    purchases: int
    known: int

    @classmethod
    def written(cls, log: pl.LazyFrame, items: pl.DataFrame, folder: Path) -> _Coded:
        users = _streamed(log.select("user").unique())["user"].sort()
        user = pl.col("user").cast(pl.Enum(users)).to_physical()
        item = pl.col("item").cast(pl.Enum(items["item"]), strict=False).to_physical()
        path = folder / "coded.parquet"
        coded = log.select(user, item, "time").filter(pl.col("item").is_not_null())
        coded.sink_parquet(path, compression="lz4")
        read = _streamed(log.select(pl.len())).item()
        known = _streamed(pl.scan_parquet(path, glob=False).select(pl.len())).item()
        return cls(path, users, items["item"], read, known)

    def scan(self) -> pl.LazyFrame:
        return pl.scan_parquet(self.path, glob=False)


def _streamed(frame: pl.LazyFrame) -> pl.DataFrame:
    return frame.collect(engine="streaming")


def _what_is_known(
    coded: _Coded,
    log: pl.LazyFrame,
    titled: pl.DataFrame,
    items: pl.DataFrame,
    cleaning: Cleaning,
) -> tuple[dict[str, int], list[str]]:
    """How many purchases, users and items the catalogue knows; a warning if too few."""
    lost = coded.purchases - coded.known
    left = _streamed(coded.scan().select(pl.col("user").n_unique())).item()
    unknown = _streamed(_unknown(log, items).select(pl.len())).item() if lost else 0
    counts = {
        "purchases read": coded.purchases,
        "users read": coded.users.len(),
        "purchases of items without a title": lost,
        "of them of items that the catalogue lacks": unknown,
        "users left without a purchase": coded.users.len() - left,
    }
    if unknown <= cleaning.unknown_share * coded.purchases or coded.known == 0:
        return counts, []
    share = f"{unknown / coded.purchases:.1%}"
    warning = f"{share} of the purchases name items that the catalogue lacks. "
    return counts, [warning + _examples(coded, log, items)]


def _unknown(log: pl.LazyFrame, items: pl.DataFrame) -> pl.LazyFrame:
    return log.select("item").join(items.lazy().select("item"), on="item", how="anti")


def _examples(coded: _Coded, log: pl.LazyFrame, items: pl.DataFrame) -> str:
    """Ids of both sides, and what may join them."""
    unknown = _streamed(_unknown(log, items).head(1000))["item"].unique(maintain_order=True)
    bought, listed = unknown.head(_EXAMPLES).to_list(), items["item"].head(_EXAMPLES).to_list()
    if not bought:
        return "The catalogue has these items, but no title for them"
    text = f"Purchases name items such as {_quoted(bought)}; the catalogue has {_quoted(listed)}"
    stripped = {each.lstrip("0") for each in unknown.to_list()}
    listed_stripped = items["item"].str.strip_chars_start("0")
    if listed_stripped.is_in(list(stripped)).any():
        text += ". They differ in leading zeros: join them with --drop-leading-zeros"
    return text


def _quoted(ids: Sequence[str]) -> str:
    return ", ".join(map(repr, ids))


@dataclass(frozen=True, slots=True)
class _SortedLog:
    """Purchases (user, item, time) by user and time, in files of whole users."""

    parts: tuple[Path, ...]
    users: int
    items: int
    purchases: int
    repeats: int

    @classmethod
    def written(cls, coded: _Coded, folder: Path, *, drop_repeats: bool) -> _SortedLog:
        counts = _streamed(coded.scan().group_by("user").len()).sort("user")
        parts = []
        kept = 0
        for number, (first, last) in enumerate(_ranges(counts)):
            rows = _streamed(coded.scan().filter(pl.col("user").is_between(first, last)))
            rows = _by_user_and_time(rows)
            if drop_repeats:
                same = (pl.col("user") == pl.col("user").shift()) & (
                    pl.col("item") == pl.col("item").shift()
                )
                rows = rows.filter(~same.fill_null(value=False))
            kept += rows.height
            parts.append(folder / f"sorted-{number:05}.parquet")
            rows.write_parquet(parts[-1], compression="lz4")
        return cls(tuple(parts), coded.users.len(), coded.items.len(), kept, coded.known - kept)

    def read(self) -> Iterator[pl.DataFrame]:
        for part in self.parts:
            yield pl.read_parquet(part, glob=False)


def _ranges(counts: pl.DataFrame) -> Iterator[tuple[int, int]]:
    """First and last users of pieces of about as many purchases as are sorted at once."""
    piece = (counts["len"].cast(pl.Int64).cum_sum() - 1) // _PURCHASES_AT_ONCE
    ranges = counts.group_by(piece.alias("piece")).agg(
        pl.col("user").min().alias("first"), pl.col("user").max().alias("last")
    )
    yield from ranges.sort("piece").select("first", "last").iter_rows()


def _by_user_and_time(rows: pl.DataFrame) -> pl.DataFrame:
    """Sorted by user and time; equal times keep their order. One key sorts faster than two."""
    if rows["time"].dtype.is_integer():
        span = int(rows["time"].max()) - int(rows["time"].min()) + 1  # type: ignore[arg-type]
        users = int(rows["user"].max()) - int(rows["user"].min()) + 1  # type: ignore[arg-type]
        if span * users < 2**63:
            user = pl.col("user").cast(pl.Int64) - rows["user"].min()
            key = user * span + (pl.col("time") - rows["time"].min())
            return rows.sort(key, maintain_order=True)
    return rows.sort("user", "time", maintain_order=True)


@dataclass(frozen=True, slots=True)
class _Core:
    """Who and what is left: purchases of each user and item, 0 for those that fell out."""

    user_counts: npt.NDArray[np.int64]
    item_counts: npt.NDArray[np.int64]

    @property
    def purchases(self) -> int:
        return int(self.item_counts.sum())

    def without(self, log: _SortedLog, items: npt.NDArray[np.bool_]) -> _Core:
        """The same without some items. Raises InputError where nothing is left."""
        left = _counts(log, self.user_counts > 0, (self.item_counts > 0) & ~items)
        if left.purchases == 0:
            raise InputError("nothing is left to train on: hold out fewer items (data.cold_items)")
        return left


def _core(log: _SortedLog, cleaning: Cleaning) -> _Core:
    """What the least counts leave."""
    users, items = np.ones(log.users, np.bool_), np.ones(log.items, np.bool_)
    core = _counts(log, users, items)
    once = max(cleaning.min_user_purchases, cleaning.min_item_purchases)
    if once > 1:
        users = core.user_counts >= cleaning.min_user_purchases
        items = core.item_counts >= cleaning.min_item_purchases
        core = _counts(log, users, items)
    least = cleaning.min_purchases
    while least > 1:
        users &= core.user_counts >= least
        items &= core.item_counts >= least
        fewer = _counts(log, users, items)
        if fewer.purchases == core.purchases:
            break
        core = fewer
    return core


def _counts(log: _SortedLog, users: npt.NDArray[np.bool_], items: npt.NDArray[np.bool_]) -> _Core:
    core = _Core(np.zeros(log.users, np.int64), np.zeros(log.items, np.int64))
    for rows in log.read():
        user, item = rows["user"].to_numpy(), rows["item"].to_numpy()
        kept = users[user] & items[item]
        core.user_counts[:] += np.bincount(user[kept], minlength=log.users)
        core.item_counts[:] += np.bincount(item[kept], minlength=log.items)
    return core


def _histories(
    log: _SortedLog, core: _Core, coded: _Coded, folder: Path, split: SplitRule
) -> pl.LazyFrame:
    """user, items, times and held_out, by user id, from files of whole users."""
    folder.mkdir(exist_ok=True)
    left = np.flatnonzero(core.user_counts)
    drawn = np.zeros(log.users, np.bool_)
    drawn[left] = held_out(len(left), split)
    parts = []
    for number, rows in enumerate(log.read()):
        user, item = rows["user"].to_numpy(), rows["item"].to_numpy()
        kept = rows.filter(pl.Series((core.user_counts[user] > 0) & (core.item_counts[item] > 0)))
        users = kept.select("user").unique(maintain_order=True)["user"]
        ids = kept.select("user", coded.items.gather(kept["item"]).alias("items"), times="time")
        grouped = ids.group_by("user", maintain_order=True).agg("items", "times")
        parts.append(folder / f"histories-{number:05}.parquet")
        grouped.select(
            coded.users.gather(users).alias("user"),
            "items",
            "times",
            pl.Series("held_out", drawn[users.to_numpy()]),
        ).write_parquet(parts[-1], compression="lz4")
    return pl.scan_parquet(parts, glob=False)


def _counted(histories: pl.LazyFrame, catalogue: int, split: SplitRule) -> dict[str, int]:
    """How many there are of what; whose answer is in their history: of test users, of validation
    users, and of training users for the last purchase that a model may see."""
    length = pl.col("items").list.len()
    is_asked = (length >= MIN_ITEMS) & (split != "none")
    kept_back = pl.when("held_out").then(2).otherwise(1) if split != "none" else 0
    trained = length > kept_back + 1
    found = _streamed(
        histories.select(
            pl.len().alias("users"),
            length.sum().cast(pl.Int64).alias("purchases"),
            (~is_asked).sum().alias("users with too few items"),
            (length > kept_back).sum().alias("training users"),
            (is_asked & pl.col("held_out")).sum().alias("validation users"),
            is_asked.sum().alias("test users"),
            (is_asked & _repeats(1)).sum().alias(f"test users {_BUY_AGAIN}"),
            (is_asked & pl.col("held_out") & _repeats(2))
            .sum()
            .alias(f"validation users {_BUY_AGAIN}"),
            trained.sum().alias(_TWO_PURCHASES),
            (trained & _repeats(kept_back + 1)).sum().alias(f"training users {_BUY_AGAIN}"),
        )
    ).row(0, named=True)
    head = ("users", "purchases")
    rest = {name: int(count) for name, count in found.items() if name not in head}
    return {name: int(found[name]) for name in head} | {"catalogue": catalogue} | rest


def _repeats(back: int | pl.Expr) -> pl.Expr:
    """Whether the purchase so many places from the end of `items` repeats one before it."""
    before = pl.col("items").list.len().cast(pl.Int64) - back
    answer = pl.col("items").list.get(before, null_on_oob=True)
    return pl.col("items").list.head(before.clip(lower_bound=0)).list.contains(answer)


def repeated_answers(counts: Mapping[str, Any]) -> RepeatedAnswers:
    """What a summary says of repeats; none where it is of a version that did not count them."""
    validated, trained = (counts.get(name, 0) for name in ("validation users", _TWO_PURCHASES))
    asked = "validation" if validated >= min(MIN_ANSWERS, trained) else "training"
    answers = validated if asked == "validation" else trained
    return RepeatedAnswers(answers, counts.get(f"{asked} users {_BUY_AGAIN}", 0))


def _bought_again(counts: Mapping[str, int]) -> Iterator[str]:
    """That lists keep what was bought, where the data say so."""
    found = repeated_answers(counts)
    if found.are_common:
        yield (
            f"{found.repeated:,} of {found.answers:,} answers ({found.share:.0%}) are items that "
            "the user had bought before: `gloss run` keeps what was bought in lists, unless "
            "ranking.exclude_seen=true; single commands do it with --keep-seen"
        )


def _vain_protocol(counts: dict[str, int], split: SplitRule) -> Iterator[str]:
    """What will give nothing to measure, with the setting that mends it."""
    if split == "none":
        return
    tested, validated = counts["test users"], counts["validation users"]
    if not tested:
        yield (
            "no test users: nobody has three purchases or more, so nothing can be measured; say "
            "other columns, or bring a longer log"
        )
    elif not validated:
        mend = (
            "--split leave-one-out makes everybody one" if split == "paper" else "bring more users"
        )
        yield f"no validation users ({counts['users']} users are too few to draw 5 % of): {mend}"
