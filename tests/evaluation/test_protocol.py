import dataclasses

import pytest

from gloss.errors import ConfigError
from gloss.evaluation.protocol import FAIR, PAPER, protocol_named
from gloss.retrieval.grounding import FUSIONS
from gloss.retrieval.settings import BM25Settings, HybridSettings

RETRIEVERS = ("bm25", "dense", "hybrid", "milvus")


def test_paper_is_the_published_way():
    assert dataclasses.astuple(PAPER) == (
        *("paper", "paper", True, False, False, False),
        *(1, None, 5, False, False, (5,), False),
    )


def test_fair_leaves_out_what_was_bought_and_fills_the_list():
    assert FAIR.exclude_seen
    assert FAIR.length == max(FAIR.cutoffs) == 20


def test_a_protocol_says_how_its_index_is_made():
    assert PAPER.index_settings() == BM25Settings(
        title_style="paper", marker=True, exact_first=False, popular_first=False
    )
    dense = PAPER.index_settings("dense", encoder="e5-small-v2")
    assert (dense.retriever, dense.encoder, dense.marker) == ("dense", "e5-small-v2", True)
    assert not dense.prefixes
    assert FAIR.index_settings("hybrid", weight=0.3) == HybridSettings(weight=0.3)


def test_a_setting_that_a_retriever_does_not_read_is_an_error():
    with pytest.raises(ConfigError, match=r"index\.weight means nothing to the retriever 'dense'"):
        FAIR.index_settings("dense", weight=0.3)


def test_paper_fuses_as_published_for_each_retriever_and_fair_always_alike():
    assert [PAPER.fusion_of(each) for each in RETRIEVERS] == [
        *("best-score", "last", "best-score", "last"),
    ]
    assert [FAIR.fusion_of(each) for each in RETRIEVERS] == ["beam-order"] * 4
    assert dataclasses.replace(PAPER, fusion="reciprocal-rank").fusion_of("dense") == (
        "reciprocal-rank"
    )


@pytest.mark.parametrize("protocol", [PAPER, FAIR])
def test_protocols_are_found_by_name_and_use_rules_that_exist(protocol):
    assert protocol_named(protocol.name) is protocol
    assert {protocol.fusion_of(each) for each in RETRIEVERS} <= FUSIONS.keys()


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ConfigError, match=r"'papre' \(did you mean paper\?\)"):
        protocol_named("papre")
