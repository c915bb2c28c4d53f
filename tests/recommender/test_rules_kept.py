"""Rules through a whole recommender: whatever is asked for, nothing shown breaks a rule, and lists
are full as long as enough items may be shown."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gloss.data.readers.shop import make_shop
from gloss.errors import InputError
from gloss.experiment.bundling import fit
from gloss.experiment.loading import with_overrides
from gloss.recommender.recommender import Recommender
from gloss.recommender.rules import Rules

ITEMS = 60
MAKERS = 4
PARTS = ["transitions", "word-overlap", "popularity"]
IDS = [f"shop-{n:04}" for n in range(ITEMS)]

subsets = st.frozensets(st.sampled_from(IDS))
histories = st.lists(st.sampled_from(IDS), max_size=8, unique=True)


@pytest.fixture(scope="module")
def recommender(tmp_path_factory) -> Recommender:
    """Of a shop of few items, each with a maker and a price; pairs of items are variants."""
    folder = tmp_path_factory.mktemp("rules")
    shop = make_shop(users=150)
    items = shop.items.head(ITEMS).with_columns(
        maker=pl.Series([f"maker {n % MAKERS}" for n in range(ITEMS)]),
        price=pl.Series(range(ITEMS)),
        pair=pl.Series([f"pair {n // 2}" for n in range(ITEMS)]),
    )
    assert items["item"].to_list() == IDS
    bought = shop.interactions.filter(pl.col("item").is_in(IDS))
    bought.write_parquet(folder / "purchases.parquet")
    items.write_parquet(folder / "items.parquet")
    data = {
        "source": "table",
        "interactions": str(folder / "purchases.parquet"),
        "items": str(folder / "items.parquet"),
        "group": "pair",
        "columns": ["maker", "price"],
    }
    rankers = {"use": PARTS, "length": 30}
    experiment = with_overrides({"name": "rules", "data": data, "rankers": rankers}, [])
    made = fit(experiment, folder / "bundle", parts=folder / "parts", model=False)
    return Recommender.open(made.path)


def columns_of(recommender: Recommender, items: list[str]) -> pl.DataFrame:
    return recommender.bundle.columns[[recommender.catalogue.row(item) for item in items]]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(
    history=histories,
    exclude=subsets,
    only=st.none() | subsets,
    most=st.none() | st.integers(0, ITEMS),
    exclude_seen=st.booleans(),
    boosted=st.booleans(),
    k=st.integers(1, ITEMS),
)
def test_only_what_is_allowed_is_shown_and_lists_are_full(
    recommender, history, exclude, only, most, exclude_seen, boosted, k
):
    rules = Rules(
        exclude=exclude,
        only=only,
        where=None if most is None else f"price < {most}",
        exclude_seen=exclude_seen,
        boosts={"price > 30": 3.0} if boosted else {},
    )
    allowed = {*IDS} - exclude & {*IDS}
    allowed &= {*IDS} if only is None else only
    allowed &= {*IDS[: ITEMS if most is None else most]}
    if not allowed:
        with pytest.raises(InputError, match="no item of the catalogue keeps the rules"):
            recommender.recommend([history], k, rules=rules)
        return
    (answer,) = recommender.recommend([history], k, rules=rules)
    shown = [each.item for each in answer.items]
    may_be_shown = allowed - ({*history} if exclude_seen else set())
    assert {*shown} <= may_be_shown
    assert len(shown) == len({*shown}) == min(k, len(may_be_shown))


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(history=histories, most=st.integers(1, 5), k=st.integers(1, ITEMS), exclude=subsets)
def test_no_more_than_n_of_a_maker_and_as_many_as_that_leaves(
    recommender, history, most, k, exclude
):
    rules = Rules(at_most={"maker": most}, exclude=exclude, exclude_seen=False)
    left = Counter(int(item[-2:]) % MAKERS for item in {*IDS} - exclude)
    if not left:
        return
    (answer,) = recommender.recommend([history], k, rules=rules)
    makers = Counter(columns_of(recommender, [each.item for each in answer.items])["maker"])
    assert max(makers.values()) <= most
    assert sum(makers.values()) == min(k, sum(min(most, count) for count in left.values()))


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(history=histories, k=st.integers(1, ITEMS))
def test_one_of_a_pair_is_shown_and_of_each_pair_one(recommender, history, k):
    (answer,) = recommender.recommend(
        [history], k, rules=Rules(one_variant=True, exclude_seen=False)
    )
    groups = columns_of(recommender, [each.item for each in answer.items])["group"].to_list()
    titles = {each.title for each in answer.items}
    assert len({*groups}) == len(groups) == len(titles)
    assert len(groups) == min(k, ITEMS // 2)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(
    history=st.lists(st.sampled_from(IDS), min_size=1, max_size=5, unique=True),
    rank=st.integers(1, 9),
)
def test_a_minimum_score_ends_the_list_where_scores_fall_below(recommender, history, rank):
    (whole,) = recommender.recommend([history], 10)
    least = whole.items[rank].score
    (answer,) = recommender.recommend([history], 10, rules=Rules(minimum_score=least))
    expected = [each.item for each in whole.items if each.score >= least]
    if all(each.reason != "popular" for each in whole.items):
        assert [each.item for each in answer.items] == expected
    assert np.all([each.score >= least for each in answer.items])
