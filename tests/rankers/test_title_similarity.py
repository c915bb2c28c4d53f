from __future__ import annotations

import numpy as np
import pytest

from gloss.data.catalogue import Catalogue, Item
from gloss.data.histories import History
from gloss.rankers.ranker import RankRequest
from gloss.rankers.title_similarity import TitleSimilarity, TitleSimilaritySettings

CATALOGUE = Catalogue(Item(item, f"title {item}") for item in "abcdef")
HALVED = TitleSimilaritySettings(decay=0.5)
VECTORS = np.eye(6, dtype=np.float32)
VECTORS[2] = [0.6, 0.8, 0, 0, 0, 0]


def test_similarity_is_the_mean_cosine_weighted_by_how_recent_purchases_are():
    ranker = TitleSimilarity(VECTORS, CATALOGUE, HALVED)
    (ranking,) = ranker.rank(RankRequest([History("u", ("a", "b"))], 1, exclude_seen=True))
    (entry,) = ranking.entries
    assert (entry.item, entry.because) == ("c", "b")
    assert entry.score == pytest.approx((0.5 * 0.6 + 1.0 * 0.8) / 1.5)


def test_without_a_purchase_nothing_is_similar():
    asked = [History("u", ()), History("v", ("a",))]
    ranker = TitleSimilarity(VECTORS, CATALOGUE, HALVED)
    one, two = ranker.rank(RankRequest(asked, 9, exclude_seen=True))
    assert one.entries == ()
    assert len(two.entries) == 5
