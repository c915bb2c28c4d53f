"""Two bundles on purchases that are newer than both: who is asked, what counts, what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from gloss.data.dataset import Dataset
from gloss.data.purchases import PurchaseLog
from gloss.data.readers.shop import make_shop
from gloss.errors import ConfigError, InputError
from gloss.experiment.bundling import fit
from gloss.experiment.loading import with_overrides
from gloss.experiment.stages import log_of
from gloss.experiment.updating import data_beside, update
from gloss.recommender.bundle import open_bundle
from gloss.recommender.comparing import compare_bundles, newest_purchases

MONDAY, TUESDAY = 1_500_000_000, 1_500_086_400
NEW = "a new item"


@dataclass(frozen=True)
class Week:
    """A generated shop with a log a day, and bundles of Monday's and Tuesday's."""

    folder: Path
    monday: Path
    tuesday: Path
    popular: Path

    def log(self) -> PurchaseLog:
        """Everything that was bought until Wednesday."""
        files = [str(self.folder / "wednesday.csv")]
        return log_of(data_beside(self.tuesday), interactions=files)


def fitted(folder: Path, name: str, use: list[str]) -> Path:
    data = {"source": "table", "interactions": [str(folder / "monday.csv")]}
    data["items"] = [str(folder / "items.csv")]
    settings = {"name": "shop", "data": data, "rankers": {"use": use}}
    made = fit(
        with_overrides(settings, []), folder / name, parts=folder / f"{name}-parts", model=False
    )
    return made.path


@pytest.fixture(scope="module")
def week(tmp_path_factory) -> Week:
    """Everybody's last purchase is Wednesday's, the one before Tuesday's; on Tuesday a tenth of the
    users buy the new item, and then what they would have bought."""
    folder = tmp_path_factory.mktemp("week")
    shop = make_shop(users=300)
    log = shop.interactions.sort("user", "time", maintain_order=True)
    left = pl.len().over("user") - pl.int_range(pl.len()).over("user")
    day = pl.when(left == 1).then(TUESDAY + 86400).when(left == 2).then(TUESDAY).otherwise(MONDAY)
    log = log.with_columns(time=day + pl.col("time"), left=left)
    is_tenth = pl.col("user").is_in(log["user"].unique().sort().gather_every(10).implode())
    item = pl.when(is_tenth & (pl.col("left") == 1)).then(pl.lit(NEW)).otherwise("item")
    log = log.with_columns(item=item)
    columns = ("user", "item", "time")
    log.filter(left=1).select(columns).write_csv(folder / "wednesday.csv")
    tuesday = log.filter(left=2).select(columns)
    extra = pl.DataFrame({"user": ["x"], "item": [NEW], "time": [TUESDAY]})
    pl.concat([tuesday, extra], how="vertical_relaxed").write_csv(folder / "tuesday.csv")
    log.filter(pl.col("left") > 2).select(columns).write_csv(folder / "monday.csv")
    shop.items.write_csv(folder / "items.csv")
    pl.DataFrame({"item": [NEW], "title": ["Kite, New"]}).write_csv(folder / "new.csv")
    monday = fitted(folder, "shop", ["transitions", "word-overlap"])
    update(
        monday,
        folder / "tuesday",
        interactions=[str(folder / "tuesday.csv")],
        items=[str(folder / "new.csv")],
    )
    popular = fitted(folder, "popular", ["popularity"])
    return Week(folder, monday, folder / "tuesday", popular)


def test_a_bundle_says_how_new_its_newest_purchase_is(week):
    times = {
        day: pl.read_csv(week.folder / f"{day}.csv")["time"].max() for day in ("monday", "tuesday")
    }
    assert open_bundle(week.monday).last_purchase == times["monday"]
    assert open_bundle(week.tuesday).last_purchase == times["tuesday"]


def test_what_one_of_them_does_not_know_is_a_miss_for_it_and_said(week):
    found = compare_bundles(week.tuesday, week.monday, week.log(), ["recall@5", "mrr"])
    assert found.users == 300
    assert found.unknown == (0, 300 // 10)
    assert [each.metric for each in found.comparisons] == ["recall@5", "mrr"]
    assert found.since.startswith("2017-07-15")


def test_transitions_beat_popularity_and_the_sides_may_be_swapped(week):
    there = compare_bundles(week.monday, week.popular, week.log(), ["recall@20"])
    back = compare_bundles(week.popular, week.monday, week.log(), ["recall@20"])
    (ours,), (theirs,) = there.comparisons, back.comparisons
    assert (ours.verdict, theirs.verdict) == ("better", "worse")
    assert (ours.better, ours.worse) == (theirs.worse, theirs.better)
    assert ours.needed == theirs.needed < ours.users


def test_a_bundle_cannot_be_told_from_itself(week):
    found = compare_bundles(week.monday, week.monday, week.log(), ["ndcg@10"], users=50)
    (only,) = found.comparisons
    assert (found.users, only.difference, only.verdict, only.needed) == (50, 0.0, "level", None)


def test_the_users_are_drawn_and_not_the_first_ones(week):
    log = week.log()
    drawn = newest_purchases(log, MONDAY + 601, users=40, seed=3).examples
    everybody = newest_purchases(log, MONDAY + 601).examples
    assert len(drawn) == 40
    assert drawn != everybody[:40]
    assert [each for each in everybody if each in drawn] == drawn  # in their order
    assert newest_purchases(log, MONDAY + 601, users=40, seed=3).examples == drawn


def test_the_answer_is_the_last_purchase_of_those_who_bought_since():
    bought = [("a", "k", 5), ("a", "l", 11), ("a", "m", 12), ("b", "k", 9), ("c", "m", 12)]
    found = newest_purchases(log_with(bought), 10)
    (only,) = found.examples
    assert (only.user, only.history, only.target) == ("a", ("k", "l"), "m")
    assert found.first_purchases == 1  # c's


@pytest.mark.parametrize(
    ("bought", "since", "said"),
    [
        ([("a", "k", 5), ("a", "l", 10)], 10, r"no purchase is newer .*\(10\)"),
        ([("a", "k", 11), ("a", "l", 12)], 10, "the log begins after"),
        ([("a", "k", 9), ("b", "l", 12)], 10, "all 1 users with a newer purchase"),
        ([("a", "k", 5), ("a", "l", MONDAY)], 10, "not of one unit"),
        ([("a", "k", MONDAY), ("a", "l", MONDAY * 1000)], MONDAY, "not of one unit"),
    ],
)
def test_a_log_that_would_say_nothing_is_refused(bought, since, said):
    with pytest.raises(InputError, match=said):
        newest_purchases(log_with(bought), since)


def test_a_bundle_that_does_not_say_how_new_it_is_is_refused(week, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Dataset, "last_purchase", lambda _: None)  # as an earlier version made it
        old = fitted(week.folder, "old", ["popularity"])
    with pytest.raises(InputError, match=r"old does not say how new .*`gloss update`"):
        compare_bundles(week.monday, old, week.log(), ["recall@5"])


@pytest.mark.parametrize(
    ("metric", "said"), [("recall@x", "whole number from 1, not 'x'"), ("hits@5", "no metric")]
)
def test_an_unknown_metric_is_refused(week, metric, said):
    with pytest.raises(ConfigError, match=said):
        compare_bundles(week.monday, week.popular, week.log(), [metric])


def log_with(bought: list[tuple[str, str, int]]) -> PurchaseLog:
    """A log of user, item, time, whose items have titles."""
    interactions = pl.DataFrame(bought, ["user", "item", "time"], orient="row")
    items = interactions.select("item").unique().with_columns(title=pl.col("item") + " kite")
    return PurchaseLog(interactions, items, {})
