from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from gloss.data.catalogue import Catalogue, Item
from gloss.data.histories import History
from gloss.rankers.dual_encoder import ranker as module
from gloss.rankers.dual_encoder.embeddings import (
    DualEncoderEmbeddings,
    TextMap,
    read_embeddings,
    read_text_map,
    write_embeddings,
)
from gloss.rankers.dual_encoder.ranker import DualEncoder
from gloss.rankers.ranker import RankRequest

ITEMS = [("a", "kite"), ("b", "string"), ("c", "soap"), ("d", "kite"), ("e", "towel")]
CATALOGUE = Catalogue(Item(item, title) for item, title in ITEMS)
TITLES = np.array([0, 2, 1, 0, 3])  # kite, soap, string, towel


def logs(chances: list[list[float]]) -> np.ndarray:
    return np.log(np.array(chances, np.float32))


FOLLOWS = logs([[0.5, 0.2, 0.7, 0.1], [0.1, 0.9, 0.1, 0.8], [0.3, 0.3, 0.3, 0.4], [1, 1, 1, 1]])
"""Odds of each title after each; the diagonal must not matter."""

KNOWN = DualEncoderEmbeddings(
    title_rows=TITLES,
    query_embeddings=FOLLOWS,
    item_embeddings=np.eye(4, dtype=np.float32),
    gate_logits=np.zeros(4, np.float32),
    recency_logits=np.log(np.array([0.75, 0.25], np.float32)),
)
TEXT = TextMap(2 * np.eye(4, dtype=np.float32), np.float32([1, 0, 0, -1]))
RANKER = DualEncoder(KNOWN, CATALOGUE)


def test_a_user_is_a_mixture_of_the_last_purchases():
    """Of two: string follows kite, towel follows soap, and soap has the larger gate."""
    (ranking,) = RANKER.rank(RankRequest([History("u", ("e", "a", "c"))], 2, exclude_seen=False))
    towel, string = ranking.entries
    assert (towel.item, towel.because) == ("e", "c")
    assert towel.score == pytest.approx(np.log(0.75 * 0.8 + 0.25 * 0.1), abs=1e-5)
    assert (string.item, string.because) == ("b", "a")
    assert string.score == pytest.approx(np.log(0.75 * 0.1 + 0.25 * 0.7), abs=1e-5)


def test_the_gate_depends_on_the_titles():
    embeddings = DualEncoderEmbeddings(
        TITLES,
        FOLLOWS,
        KNOWN.item_embeddings,
        np.log([9, 1, 1, 1]).astype(np.float32),
        KNOWN.recency_logits,
    )
    assert embeddings.mixture_gate(np.array([0, 1])) == pytest.approx([9 / 12, 3 / 12])


def test_a_bought_title_is_not_its_own_next_whoever_sells_it():
    (ranking,) = RANKER.rank(RankRequest([History("u", ("a",))], 9, exclude_seen=True))
    assert [entry.item for entry in ranking.entries] == ["b", "c", "e"]
    assert np.exp([entry.score for entry in ranking.entries]) == pytest.approx([0.7, 0.2, 0.1])


def test_with_repeats_a_bought_title_may_be_its_own_next():
    """All odds after kite: 0.5, 0.2, 0.7 and 0.1; items a and d share the title kite."""
    ranker = DualEncoder(KNOWN, CATALOGUE, repeats=True)
    (ranking,) = ranker.rank(RankRequest([History("u", ("a",))], 9, exclude_seen=False))
    assert [entry.item for entry in ranking.entries] == ["b", "a", "d", "c", "e"]
    chances = np.exp([entry.score for entry in ranking.entries])
    assert chances == pytest.approx(np.array([0.7, 0.5, 0.5, 0.2, 0.1]) / 1.5)


def test_items_of_one_title_are_as_likely():
    (ranking,) = RANKER.rank(RankRequest([History("u", ("b",))], 9, exclude_seen=True))
    scores = {entry.item: entry.score for entry in ranking.entries}
    assert scores["a"] == scores["d"]


def test_company_changes_nothing(monkeypatch):
    asked = [History(f"u{n}", bought) for n, bought in enumerate([("a",), (), ("c", "e")])]
    request = RankRequest(asked, length=3, exclude_seen=True)
    together = list(RANKER.rank(request))
    monkeypatch.setattr(module, "_BATCH_BYTES", 1)
    assert list(RANKER.rank(request)) == together
    assert together[1].entries == ()


def test_arrays_are_read_as_they_were_written(tmp_path):
    assert read_text_map(tmp_path) is None
    write_embeddings(KNOWN, TEXT, tmp_path)
    for read, written in ((read_embeddings(tmp_path), KNOWN), (read_text_map(tmp_path), TEXT)):
        for name, expected in asdict(written).items():
            assert np.array_equal(getattr(read, name), expected)


def test_a_title_that_came_later_is_known_by_its_vector():
    """Item f is a new title whose vector is soap's: it is as likely as soap, and goes as far."""
    added = TEXT.embeddings(np.float32([[0, 1, 0, 0]]))
    assert added["query_embeddings"].tolist() == [[0, 2, 0, 0]]
    assert added["gate_logits"].tolist() == [0]
    ranker = DualEncoder(
        KNOWN.with_titles(np.append(TITLES, 4), added),
        Catalogue([*CATALOGUE, Item("f", "green soap")]),
    )
    (ranking,) = ranker.rank(RankRequest([History("u", ("a",))], 9, exclude_seen=True))
    scores = {entry.item: entry.score for entry in ranking.entries}
    assert scores["f"] == scores["c"]
    (ranking,) = ranker.rank(RankRequest([History("u", ("f",))], 1, exclude_seen=True))
    assert ranking.entries[0].item == "c"
