from __future__ import annotations

import pytest

from gloss.report.published import published_rows, published_segments, published_source

MODELS, RETRIEVERS = 3, 3
LAST_ITEM_ROWS = 3


@pytest.mark.parametrize(
    ("dataset", "users"), [("beauty", 22363), ("toys", 19395), ("sports", 35597)]
)
def test_every_published_system_is_there(dataset, users):
    rows = published_rows(dataset, "PAPER")
    assert len(rows) == MODELS * RETRIEVERS + LAST_ITEM_ROWS
    assert {row.users for row in rows} == {users}
    assert {row.kind for row in rows} == {"published"}


def test_figures_are_the_published_ones():
    rows = {row.label: row.values for row in published_rows("toys", "PAPER")}
    assert rows["GLoSS, Llama-3.1-8B + E5-small"] == {"recall@5": 0.079557, "ndcg@5": 0.052897}
    assert rows["Last-item search + BM25"]["mrr"] == 0.019147


@pytest.mark.parametrize("name", ["Toys_and_Games", "Toys & Games", "TOYS"])
def test_a_category_is_known_by_its_full_name(name):
    assert published_rows(name, "PAPER") == published_rows("toys", "PAPER")


@pytest.mark.parametrize("name", ["shop", "toystore", ""])
def test_other_data_have_no_published_figures(name):
    assert published_rows(name, "PAPER") == ()
    assert published_segments(name) == ()


def test_under_fair_each_row_says_that_it_is_not():
    assert {row.note for row in published_rows("toys", "fair")} == {
        "measured under PAPER, not FAIR"
    }
    assert {row.note for row in published_rows("toys", "paper")} == {""}


def test_segments_add_up_to_all_users():
    for dataset in ("beauty", "toys", "sports"):
        (users,) = {row.users for row in published_rows(dataset, "PAPER")}
        for table in published_segments(dataset):
            assert sum(part.users for part in table.segments.values()) == users


def test_the_mean_of_the_segments_is_the_whole():
    rows = {row.label: row for row in published_rows("beauty", "PAPER")}
    for table in published_segments("beauty"):
        parts = table.segments.values()
        whole = sum(part.users * part.values["recall@5"] for part in parts) / 22363
        assert whole == pytest.approx(rows[table.model].values["recall@5"], abs=2e-6)


def test_the_source_is_named():
    assert "arXiv 2506.01910" in published_source()
