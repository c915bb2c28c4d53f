"""Rules at the call: no rule is ever broken, and lists are full whenever enough items are left."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gloss.data.catalogue import Catalogue, Item
from gloss.errors import ConfigError, InputError
from gloss.rankings.ranking import RankedItem
from gloss.recommender.rules import Arrangement, Rules, allowed_rows

BRANDS = ("Acme", "Zeta", None)
ITEMS = [
    Item(f"b{n}", f"Kite {n // 2}", {"brand": BRANDS[n % 3], "price": float(n), "group": n // 4})
    for n in range(24)
]
CATALOGUE = Catalogue(ITEMS)
COLUMNS = pl.DataFrame([{"item": item.id, "title": item.title, **item.columns} for item in ITEMS])
ENTRIES = [RankedItem(item.id, float(-n)) for n, item in enumerate(ITEMS)]
VECTORS = np.eye(24, dtype=np.float32)[[n // 2 for n in range(24)]]  # equal titles, equal vectors

subsets = st.frozensets(st.sampled_from([item.id for item in ITEMS]))


def allowed(**rules) -> list[str]:
    mask = allowed_rows(Rules(**rules), CATALOGUE, COLUMNS)
    assert mask is not None
    return [item.id for item, kept in zip(ITEMS, mask, strict=True) if kept]


def listed(length: int = 24, vectors=VECTORS, **rules) -> list[str]:
    arrangement = Arrangement(Rules(**rules), CATALOGUE, COLUMNS, vectors)
    return [entry.item for entry in arrangement.first(ENTRIES, length)]


def test_without_rules_everything_is_allowed_as_it_stands():
    assert allowed_rows(Rules(), CATALOGUE, COLUMNS) is None
    assert listed(5) == ["b0", "b1", "b2", "b3", "b4"]


@given(excluded=subsets, only=subsets, most=st.integers(0, 24))
def test_what_is_allowed_is_what_every_rule_allows(excluded, only, most):
    found = allowed(exclude=excluded, only=only, where=f"price < {most}")
    assert found == [
        item.id
        for n, item in enumerate(ITEMS)
        if n < most and item.id in only and item.id not in excluded
    ]


def test_an_unknown_value_is_not_true():
    assert allowed(where="brand = 'Acme'") == [f"b{n}" for n in range(0, 24, 3)]
    assert allowed(where="brand != 'Acme'") == [f"b{n}" for n in range(1, 24, 3)]
    assert allowed(where="brand IS NULL AND price > 20") == ["b23"]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("prise < 3", r"'prise < 3': the catalogue has no column 'prise' \(did you mean price"),
        ("price <", "'price <' is not understood"),
        ("price; DROP TABLE x", "is not understood"),
        ("brand + 1", "is not understood"),
    ],
)
def test_an_expression_that_means_nothing_is_said(where, message):
    with pytest.raises(InputError, match=message):
        allowed_rows(Rules(where=where), CATALOGUE, COLUMNS)


@given(
    brands=st.integers(1, 9),
    length=st.integers(1, 24),
    one_variant=st.booleans(),
    diversity=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_no_limit_is_broken_and_lists_are_as_full_as_limits_allow(
    brands, length, one_variant, diversity
):
    found = listed(length, at_most={"brand": brands}, one_variant=one_variant, diversity=diversity)
    assert len(set(found)) == len(found) <= length
    of_brand = COLUMNS["brand"].gather([CATALOGUE.row(each) for each in found]).to_list()
    assert all(of_brand.count(brand) <= brands for brand in ("Acme", "Zeta"))
    groups = [ITEMS[CATALOGUE.row(each)].columns["group"] for each in found]
    if one_variant:
        assert len(set(groups)) == len(groups)
    # 8 items have no brand, and no limit: with one variant a list holds at most one of each group.
    if not one_variant:
        assert len(found) == min(length, 8 + 2 * min(brands, 8))


def test_a_boosted_item_rises_by_its_factor():
    # Of rank 10 the relevance is 1 / 10; times 4 it stands between rank 2 (1/2) and rank 3 (1/3).
    assert listed(4, boosts={"item = 'b9'": 4.0}) == ["b0", "b1", "b9", "b2"]


def test_diversity_prefers_what_is_unlike():
    # b0 and b1 have one title, so b1 loses more than b2, the next other title.
    assert listed(3, diversity=0.5) == ["b0", "b2", "b4"]
    assert listed(3, diversity=0.0) == ["b0", "b1", "b2"]


def test_a_minimum_score_ends_the_list():
    assert listed(minimum_score=-2.0) == ["b0", "b1", "b2"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"diversity": 1.5}, "diversity is between 0 and 1, not 1.5"),
        ({"at_most": {"brand": 0}}, "at least 1 item of a brand, not 0"),
        ({"boosts": {"price > 1": -1.0}}, "the boost of 'price > 1' is above 0, not -1.0"),
    ],
)
def test_impossible_rules_are_said(rules, message):
    with pytest.raises(ConfigError, match=message):
        Rules(**rules)


def test_what_the_catalogue_or_the_bundle_lacks_is_said():
    with pytest.raises(ConfigError, match="the catalogue has no column 'colour'"):
        listed(at_most={"colour": 1})
    with pytest.raises(ConfigError, match="diversity compares vectors of titles"):
        listed(diversity=0.5, vectors=None)
