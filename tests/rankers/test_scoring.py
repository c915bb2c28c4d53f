"""From scores to lists: as a plain sort has them."""

from __future__ import annotations

import numpy as np
import pytest

from contracts import catalogue_of
from gloss.data.histories import Example
from gloss.rankers.scoring import Scored, each_best
from gloss.rankings.ranking import RankedItem, Ranking

CATALOGUE = catalogue_of(tuple(f"title {n}" for n in range(60)))
IDS = [item.id for item in CATALOGUE]
LENGTH = 7


def sorted_plainly(question: Example, scores, shares, *, exclude_seen: bool) -> Ranking:
    seen = set(question.history) if exclude_seen else set()
    found = [row for row in range(60) if np.isfinite(scores[row]) and IDS[row] not in seen]
    rows = sorted(found, key=lambda row: -scores[row])[:LENGTH]
    reasons = [question.history[int(np.argmax(shares[:, row]))] for row in rows]
    pairs = zip(rows, reasons, strict=True)
    entries = (RankedItem(IDS[row], float(scores[row]), because=why) for row, why in pairs)
    return Ranking(question.user, tuple(entries))


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_lists_are_those_of_a_plain_sort(exclude_seen):
    rng = np.random.default_rng(0)
    questions, scored, expected = [], {}, []
    for user in range(40):
        history = tuple(IDS[n] for n in rng.integers(0, 60, rng.integers(1, 5)))
        scores = rng.integers(-3, 9, 60).astype(np.float32) / 4
        scores[rng.random(60) < user / 39] = -np.inf  # from all found to nothing
        told = rng.random((len(history), 60))
        question = Example(f"u{user}", history, IDS[0])
        questions.append(question)
        scored[question] = Scored(history, scores, lambda rows, told=told: told[:, rows])
        expected.append(sorted_plainly(question, scores, told, exclude_seen=exclude_seen))
    told = {"at_once": 7, "length": LENGTH, "exclude_seen": exclude_seen}
    assert each_best(lambda some: map(scored.get, some), questions, CATALOGUE, **told) == expected


def test_nobody_has_no_lists():
    told = {"at_once": 7, "length": LENGTH, "exclude_seen": True}
    assert each_best(lambda some: (), [], CATALOGUE, **told) == ()
