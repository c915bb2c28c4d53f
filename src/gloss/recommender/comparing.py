"""Whether one bundle answers better than another: by purchases that are newer than both.

Everybody whose last purchase is newer than the newest one of either bundle is asked for: that
purchase is the answer, all before it are the history. Both bundles get the same histories, and
answer as they are served. Knows bundles and a log; no experiment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import Example, UserId
from gloss.data.purchases import PurchaseLog
from gloss.data.readers.times import shown_time, unit_of
from gloss.errors import ConfigError, InputError
from gloss.evaluation.evaluate import Evaluation, evaluate
from gloss.evaluation.significance import Comparison, compare
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.recommender.bundle import Bundle, open_bundle
from gloss.recommender.recommender import Recommender

__all__ = ["BundleComparison", "NewestPurchases", "compare_bundles", "newest_purchases"]

_NAME = "newest"
"""What evaluations on the newest purchases have in the place of a protocol's name."""

_LENGTH = 20
"""Items in a list, at least: a metric without a cutoff reads all of them."""

_USERS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class NewestPurchases:
    """What bundles are compared on.

    since: the time after which purchases count. examples: everybody's last purchase, of those whose
    is newer, with all before it. first_purchases: users left out, as nothing is before it. titles:
    of the log's items.
    """

    since: float
    examples: Sequence[Example]
    first_purchases: int
    titles: Mapping[ItemId, str]


@dataclass(frozen=True, slots=True)
class BundleComparison:
    """How two bundles differ. unknown: by bundle, how many of the answers are items that it does
    not know, which it misses. Other fields: those of `NewestPurchases`, and the metrics'."""

    since: str
    users: int
    first_purchases: int
    unknown: tuple[int, int]
    comparisons: tuple[Comparison, ...]


def compare_bundles(
    first: Path,
    second: Path,
    log: PurchaseLog,
    metrics: Sequence[str],
    *,
    users: int | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> BundleComparison:
    """Compare two bundles on the newest purchases of a log that holds whole histories.

    metrics: names such as "recall@5" or "mrr". users: at most so many, drawn at random. Raises
    InputError where a bundle does not say how new its newest purchase is, where no purchase is
    newer, or times are of another unit; ConfigError for an unknown metric.
    """
    cutoffs = _cutoffs(metrics)
    bundles = [open_bundle(path) for path in (first, second)]
    newest = newest_purchases(log, max(map(_last_purchase, bundles)), users=users, seed=seed)
    ours, theirs = (_evaluated(bundle, newest, cutoffs) for bundle in bundles)
    unknown = [
        sum(each.target not in bundle.catalogue for each in newest.examples) for bundle in bundles
    ]
    return BundleComparison(
        shown_time(newest.since),
        len(newest.examples),
        newest.first_purchases,
        (unknown[0], unknown[1]),
        tuple(compare(ours, theirs, name, resamples=resamples, seed=seed) for name in metrics),
    )


def newest_purchases(
    log: PurchaseLog, since: float, *, users: int | None = None, seed: int = 0
) -> NewestPurchases:
    """The examples of a log whose answers are newer than `since`; see `compare_bundles`.

    Users are in the order of their ids. Equal times keep the order of the log.
    """
    purchases = log.interactions.lazy().select("user", "item", "time")
    _require_whole_histories(purchases, since)
    last = purchases.group_by("user").agg(pl.col("time").max())
    is_newer = last.filter(pl.col("time") > since).select("user")
    histories = (
        purchases.join(is_newer, on="user", how="semi", maintain_order="left")
        .sort("user", "time", maintain_order=True)
        .group_by("user", maintain_order=True)
        .agg("item")
        .collect()
    )
    known = histories.filter(pl.col("item").list.len() > 1)
    if known.is_empty():
        raise InputError(f"all {histories.height:,} users with a newer purchase have no other one")
    return NewestPurchases(
        since,
        [*_examples(_drawn(known, users, seed))],
        histories.height - known.height,
        {
            ItemId(item): title
            for item, title in log.items.select("item", "title").drop_nulls().iter_rows()
        },
    )


def _drawn(histories: pl.DataFrame, users: int | None, seed: int) -> pl.DataFrame:
    if users is None or users >= histories.height:
        return histories
    rng = np.random.default_rng(seed)
    return histories[np.sort(rng.choice(histories.height, users, replace=False))]


def _examples(histories: pl.DataFrame) -> Iterator[Example]:
    for user, (*history, target) in histories.iter_rows():
        yield Example(UserId(user), tuple(history), target)


def _last_purchase(bundle: Bundle) -> float:
    if bundle.last_purchase is None:
        raise InputError(
            f"{bundle.artifact.path} does not say how new its newest purchase is, so that nobody "
            "knows which purchases it was trained on: make it anew with `gloss update`, "
            "`gloss bundle` or `gloss fit`"
        )
    return bundle.last_purchase


def _require_whole_histories(purchases: pl.LazyFrame, since: float) -> None:
    """Raise InputError for a log that does not begin before `since` and end after it, or that seems
    to for the unit of its times alone."""
    oldest, newest = purchases.select(
        oldest=pl.col("time").min(), newest=pl.col("time").max()
    ).collect().row(0)  # fmt: skip
    if newest is not None and unit_of(newest) != unit_of(since):
        raise InputError(
            f"the newest purchase of the log has the time {newest}, that of the bundles {since}: "
            "these are not of one unit; name the data set that a bundle was made of, by which the "
            "log is then read"
        )
    if newest is None or newest <= since:
        raise InputError(
            f"no purchase is newer than the newest one of both bundles ({shown_time(since)}): "
            "name a log that goes on after it"
        )
    if oldest > since:
        raise InputError(
            f"the log begins after the newest purchase of both bundles ({shown_time(since)}), and "
            "lists are made from whole histories: name the log before it too, or the data set that "
            "has it"
        )


def _cutoffs(metrics: Sequence[str]) -> list[int]:
    """The cutoffs that metrics' names end in.

    >>> _cutoffs(["ndcg@10", "recall@5", "mrr"])
    [5, 10]
    """
    ends = {name.partition("@")[2] for name in metrics} - {""}
    wrong = [end for end in ends if not end.isdecimal() or int(end) < 1]
    if wrong:
        raise ConfigError(f"a metric's cutoff is a whole number from 1, not {min(wrong)!r}")
    return sorted(map(int, ends)) or [_LENGTH]


def _evaluated(bundle: Bundle, newest: NewestPurchases, cutoffs: Sequence[int]) -> Evaluation:
    """What a bundle's lists are worth."""
    recommender, length = Recommender(bundle), max(_LENGTH, *cutoffs)
    lists: list[Ranking] = []
    for start in range(0, len(newest.examples), _USERS_AT_ONCE):
        some = newest.examples[start : start + _USERS_AT_ONCE]
        purchases = [_readable(each.history, bundle.catalogue, newest.titles) for each in some]
        answers = recommender.recommend(purchases, length)
        lists += (
            Ranking(each.user, tuple(RankedItem(item.item, item.score) for item in answer.items))
            for each, answer in zip(some, answers, strict=True)
        )
    return evaluate(lists, newest.examples, cutoffs, protocol=_NAME)


def _readable(
    history: Sequence[ItemId], catalogue: Catalogue, titles: Mapping[ItemId, str]
) -> list[str]:
    """A history as a bundle can read it: ids that it knows, titles of others; what has no title
    either says nothing, and is left out."""
    return [
        item if item in catalogue else titles[item]
        for item in history
        if item in catalogue or item in titles
    ]
