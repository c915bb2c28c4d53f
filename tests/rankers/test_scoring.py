"""From scores to lists: as a plain sort has them."""

from __future__ import annotations

import numpy as np
import pytest

from gloss.data.histories import History
from gloss.rankers.ranker import RankRequest
from gloss.rankers.scoring import ScoredHistory, rank_by_scores
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.testing.catalogues import catalogue_of

CATALOGUE = catalogue_of(tuple(f"title {n}" for n in range(60)))
IDS = [item.id for item in CATALOGUE]
LENGTH = 7


def sorted_plainly(history: History, scores, contributions, *, exclude_seen: bool) -> Ranking:
    seen = set(history.items) if exclude_seen else set()
    found = [row for row in range(60) if np.isfinite(scores[row]) and IDS[row] not in seen]
    rows = sorted(found, key=lambda row: -scores[row])[:LENGTH]
    reasons = [history.items[int(np.argmax(contributions[:, row]))] for row in rows]
    pairs = zip(rows, reasons, strict=True)
    entries = (RankedItem(IDS[row], float(scores[row]), because=why) for row, why in pairs)
    return Ranking(history.user, tuple(entries))


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_lists_are_those_of_a_plain_sort(exclude_seen):
    rng = np.random.default_rng(0)
    histories, scored, expected = [], {}, []
    for user in range(40):
        items = tuple(IDS[n] for n in rng.integers(0, 60, rng.integers(1, 5)))
        scores = rng.integers(-3, 9, 60).astype(np.float32) / 4
        scores[rng.random(60) < user / 39] = -np.inf  # from all found to nothing
        parts = rng.random((len(items), 60))
        history = History(f"u{user}", items)
        histories.append(history)
        scored[history] = ScoredHistory(items, scores, lambda rows, parts=parts: parts[:, rows])
        expected.append(sorted_plainly(history, scores, parts, exclude_seen=exclude_seen))
    request = RankRequest(histories, LENGTH, exclude_seen)
    made = rank_by_scores(
        request, CATALOGUE, lambda batch: [scored[each] for each in batch], batch_users=7
    )
    assert made == expected


def test_nobody_has_no_lists():
    request = RankRequest([], LENGTH, exclude_seen=True)
    assert rank_by_scores(request, CATALOGUE, lambda batch: (), batch_users=7) == ()
