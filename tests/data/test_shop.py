from __future__ import annotations

import hashlib
from collections import Counter
from itertools import pairwise

import bm25s
import numpy as np
import pytest

from gloss.data.dataset import PreparedData, PurchaseLog, prepare
from gloss.data.readers.shop import MAX_PURCHASES, MIN_PURCHASES, make_shop
from gloss.errors import ConfigError


@pytest.fixture(scope="module")
def log() -> PurchaseLog:
    return make_shop()


@pytest.fixture(scope="module")
def data(log: PurchaseLog) -> PreparedData:
    return prepare(log, split="paper")


def digest(log: PurchaseLog) -> str:
    return hashlib.sha256(
        (log.interactions.write_csv() + log.items.write_csv()).encode()
    ).hexdigest()


def test_seed_zero_gives_the_bytes_that_published_demo_figures_rest_on(log):
    assert digest(log) == "b90ceec88dc92daa2c781de9ed6771a26c781beff71f048756dee36ba43d3d71"


def test_another_seed_is_another_shop():
    assert digest(make_shop(users=50, seed=1)) != digest(make_shop(users=50))


def test_a_smaller_shop_is_the_beginning_of_a_larger_one(log):
    small = make_shop(users=20)
    assert small.items.equals(log.items)
    assert small.interactions.equals(log.interactions.head(small.interactions.height))


def test_every_title_is_its_own(log):
    departments, brands, editions = 8, 3, 2 * 3 + 4 + 4 + 4
    assert log.items["item"].n_unique() == log.items["title"].n_unique() == log.items.height
    assert log.items.height == departments * brands * editions


def test_nobody_buys_an_item_twice(log):
    assert not log.interactions.select("user", "item").is_duplicated().any()


def test_a_grocers_customers_buy_twice_as_much_half_of_it_again():
    grocer = make_shop(users=200, repeats=0.5).interactions
    first = grocer.unique(["user", "item"], keep="first", maintain_order=True)
    chances = grocer.height - 200  # a user's first purchase repeats nothing
    assert (grocer.height - first.height) / chances == pytest.approx(0.5, abs=0.02)
    sizes = grocer.group_by("user").len()["len"]
    assert (sizes.min(), sizes.max()) == (2 * MIN_PURCHASES, 2 * MAX_PURCHASES)


def test_a_share_of_repeats_is_less_than_one():
    for share in (1.0, -0.1):
        with pytest.raises(ConfigError, match="must be a share"):
            make_shop(users=1, repeats=share)


def test_users_buy_five_to_fifteen_items_on_different_days(log):
    sizes = log.interactions.group_by("user").len()["len"]
    assert sizes.min() == MIN_PURCHASES
    assert sizes.max() == MAX_PURCHASES
    assert not log.interactions.select("user", "time").is_duplicated().any()


def test_every_item_is_bought(data):
    assert data.summary["catalogue"] == 432


def test_the_order_of_ids_says_nothing_of_departments(log):
    brands = [title.split()[0] for title in log.items.sort("item")["title"]]
    neighbours_of_one_brand = np.mean([a == b for a, b in pairwise(brands)])
    assert neighbours_of_one_brand < 3 / 24


def test_popularity_is_skewed(log):
    counts = sorted(log.interactions["item"].value_counts()["count"], reverse=True)
    assert sum(counts[:43]) > 0.25 * sum(counts)
    assert counts[0] > 10 * counts[len(counts) // 2]


def test_transitions_find_far_more_than_titles_and_titles_more_than_popularity(data):
    popularity = recall_at_5(data, popularity_scores(data))
    titles = recall_at_5(data, title_scores(data))
    transitions = recall_at_5(data, transition_scores(data))
    assert 0.03 < popularity < 0.08
    assert 1.5 * popularity < titles < 0.15
    assert 0.3 < transitions < 0.5


def test_a_shop_without_users_is_refused():
    with pytest.raises(ConfigError, match="users is 0"):
        make_shop(users=0)


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match="seed is -1"):
        make_shop(seed=-1)


def recall_at_5(data: PreparedData, scores: np.ndarray) -> float:
    """scores: (last item, candidate). Bought items are left out, ties go to the lower row."""
    row = rows(data)
    hits = 0
    tests = data.splits.test.collect()
    for _, history, target in tests.iter_rows():
        found = scores[row[history[-1]]].copy()
        found[[row[item] for item in history]] = -np.inf
        hits += row[target] in np.argsort(-found, kind="stable")[:5]
    return hits / tests.height


def seen(data: PreparedData) -> list[list[str]]:
    return [[*before, last] for _, before, last in data.splits.train.collect().iter_rows()]


def rows(data: PreparedData) -> dict[str, int]:
    return {item: row for row, item in enumerate(data.items["item"])}


def popularity_scores(data: PreparedData) -> np.ndarray:
    bought = Counter(item for items in seen(data) for item in items)
    counts = np.array([bought[item] for item in data.items["item"]], dtype=float)
    return np.tile(counts, (counts.size, 1))


def title_scores(data: PreparedData) -> np.ndarray:
    titles = data.items["title"].to_list()
    index = bm25s.BM25()
    index.index(bm25s.tokenize(titles, stopwords="en", show_progress=False), show_progress=False)
    words = bm25s.tokenize(titles, stopwords="en", return_ids=False, show_progress=False)
    return np.stack([index.get_scores(query) for query in words])


def transition_scores(data: PreparedData) -> np.ndarray:
    row = rows(data)
    counts = np.zeros((len(row), len(row)))
    for items in seen(data):
        for here, there in pairwise(items):
            counts[row[here], row[there]] += 1
    return counts
