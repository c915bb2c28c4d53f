from __future__ import annotations

import pytest

from gloss.report.names import baseline_name, retriever_name


@pytest.mark.parametrize(
    ("index", "name"),
    [
        ({"retriever": "bm25"}, "BM25"),
        ({"retriever": "dense", "encoder": "all-MiniLM-L6-v2"}, "MiniLM"),
        ({"retriever": "dense", "encoder": "intfloat/e5-small-v2"}, "E5-small"),
        ({"retriever": "dense", "encoder": "models/ours"}, "ours"),
        ({"retriever": "hybrid", "encoder": "e5-base-v2"}, "BM25 and E5-base"),
        ({"retriever": "oracle"}, "oracle"),
        (None, ""),
    ],
)
def test_a_retriever_is_called_by_what_it_searches_with(index, name):
    assert retriever_name({"baseline": None, "index": index}) == name


def test_only_baselines_that_search_have_a_retriever():
    index = {"retriever": "bm25"}
    assert retriever_name({"baseline": "last-item", "index": index}) == "BM25"
    assert retriever_name({"baseline": "popularity", "index": index}) == ""


def test_an_unknown_baseline_is_called_by_its_own_name():
    assert baseline_name("most-recent") == "Most recent"
    assert baseline_name("") == ""
