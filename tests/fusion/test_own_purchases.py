from __future__ import annotations

import numpy as np
import pytest

from gloss.data.histories import History
from gloss.fusion.candidates import candidates
from gloss.fusion.own_purchases import purchase_features
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.table import RankingTable


def test_candidates_know_how_often_and_how_lately_their_user_bought_them():
    lists = [
        Ranking("u", tuple(RankedItem(item, 1.0) for item in "abc")),
        Ranking("v", (RankedItem("a", 1.0),)),
        Ranking("w", (RankedItem("b", 1.0),)),
    ]
    (batch,) = candidates([RankingTable.of(lists)])
    histories = [History("u", ("a", "b", "a")), History("v", ("a", "b", "c")), History("w", ())]
    times, since = purchase_features(batch, histories).T
    # a, b, c of u; a of v; b of w, who bought nothing
    assert times == pytest.approx(np.log1p([2, 1, 0, 1, 0]))
    assert since == pytest.approx(np.log1p([0, 1, np.nan, 2, np.nan]), nan_ok=True)


def test_nobody_has_no_features():
    (batch,) = candidates([RankingTable.of([Ranking("u", ())])])
    assert purchase_features(batch, [History("u", ("a",))]).shape == (0, 2)
