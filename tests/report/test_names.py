from __future__ import annotations

import pytest

from gloss.rankers.specs import RANKERS
from gloss.report.content import LAST_ITEM
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
    assert retriever_name(index) == name


def test_every_ranker_is_called_as_its_spec_says():
    assert [baseline_name(spec.name) for spec in RANKERS] == [spec.label for spec in RANKERS]
    assert baseline_name("last-item") == LAST_ITEM


def test_an_unknown_baseline_is_called_by_its_own_name():
    assert baseline_name("most-recent") == "Most recent"
    assert baseline_name("") == ""
