"""Items that are held out of everything: which, and who is asked about them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from gloss.config import ShopData
from gloss.data.cold_items import ColdRule, cold_examples
from gloss.data.dataset import Dataset
from gloss.errors import InputError
from gloss.experiment import stages
from gloss.experiment.stages import prepare

SHARE = 0.2
SHOP = ShopData(users=150, split="leave-one-out")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Dataset:
    return Dataset.load(prepare(SHOP, tmp_path_factory.mktemp("whole") / "data").path)


@pytest.fixture(scope="module")
def warm(tmp_path_factory) -> Dataset:
    """The same shop, a fifth of its items held out."""
    settings = SHOP.model_copy(update={"cold_items": SHARE, "cold_seed": 3})
    return Dataset.load(prepare(settings, tmp_path_factory.mktemp("warm") / "data").path)


@pytest.fixture(scope="module")
def grown(warm, tmp_path_factory) -> Dataset:
    """The warm data set when these items have come."""
    out = tmp_path_factory.mktemp("grown") / "data"
    return Dataset.load(stages.bring_items(warm.path, out).path)


def cold_ids(data: Dataset) -> set[str]:
    return {*data.cold_items().items["item"]}


def test_a_share_of_the_bought_items_is_drawn_and_another_seed_draws_others():
    bought = np.arange(1000) % 4 != 0  # 750 items
    first, again, other = (ColdRule(0.1, seed).drawn(bought) for seed in (0, 0, 1))
    assert first.sum() == 0.1 * 750
    assert not (first & ~bought).any()
    assert (first == again).all()
    assert (first != other).any()
    assert ColdRule(0.001).drawn(bought).sum() == 1


def test_whose_last_purchase_is_cold_is_asked_for_it_after_all_others():
    histories = pl.LazyFrame(
        {
            "user": ["u", "v", "w", "x"],
            "items": [["a", "b", "c", "d", "c"], ["a", "c", "b"], ["a", "c"], ["c", "d", "a"]],
        }
    )
    found = cold_examples(histories, pl.Series(["c", "d"])).collect()
    # v and x bought something else last; w has one purchase left, and two are asked for.
    assert found.to_dicts() == [{"user": "u", "history": ["a", "b"], "target": "c"}]


def test_nothing_of_a_cold_item_is_in_catalogue_histories_or_splits(whole, warm):
    cold = cold_ids(warm)
    assert len(cold) == round(SHARE * len({item for h in whole.histories() for item in h.items}))
    items = {item.id for item in whole.catalogue("fair")}
    assert {item.id for item in warm.catalogue("fair")} == items - cold
    left = {h.user: tuple(i for i in h.items if i not in cold) for h in whole.histories()}
    assert {h.user: h.items for h in warm.histories()} == {u: i for u, i in left.items() if i}
    answers = [e.target for e in (*warm.examples("test"), *warm.examples("validation"))]
    assert not cold & {*answers}


def test_the_cold_questions_are_last_purchases_of_the_whole_log(whole, warm):
    cold, last = cold_ids(warm), {h.user: h.items[-1] for h in whole.histories()}
    asked = warm.cold_examples()
    assert {e.user for e in asked} <= {user for user, item in last.items() if item in cold}
    assert all(e.target == last[e.user] and not cold & {*e.history} for e in asked)
    assert len(asked) == warm.summary["cold test users"] > 20
    assert (
        warm.summary["purchases"] + warm.summary["purchases of cold items"]
        == (whole.summary["purchases"])
    )


def test_where_nothing_is_held_out_nothing_changes(whole, warm):
    assert not whole.holds_out_items
    assert warm.holds_out_items
    assert not {"cold_items", "cold_seed"} & {*whole.artifact.config}


def test_when_the_items_have_come_training_and_questions_are_the_same(warm, grown):
    for split in ("train", "validation", "test"):
        first, second = (pl.read_parquet(data.path / f"{split}.parquet") for data in (warm, grown))
        assert first.equals(second), split
    old, new = warm.catalogue("fair"), grown.catalogue("fair")
    assert [item.id for item in new][: len(old)] == [item.id for item in old]
    assert {item.id for item in new} - {item.id for item in old} == cold_ids(warm)
    assert grown.times_bought()[len(old) :].sum() == 0


def test_a_data_set_that_holds_nothing_out_has_nothing_to_bring(whole, tmp_path):
    with pytest.raises(InputError, match="cold_items"):
        stages.bring_items(whole.path, tmp_path / "grown")
