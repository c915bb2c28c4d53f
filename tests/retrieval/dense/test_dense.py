from __future__ import annotations

import numpy as np
import pytest

from gloss.retrieval.dense.encoders import Encoder, Prefixes
from gloss.retrieval.dense.nearest import Exhaustive
from gloss.retrieval.dense.retriever import Dense, TitleVectors
from gloss.retrieval.retriever import IndexSettings
from gloss.testing.catalogues import TITLES, catalogue_of

FAIR = IndexSettings(retriever="dense", exact_first=False)
PAPER = IndexSettings(
    title_style="paper", retriever="dense", marker=True, prefixes=False, exact_first=False
)
CATALOGUE = catalogue_of(TITLES)
BARE = Prefixes()


class Spy:
    """A real encoder that remembers what it was asked for."""

    def __init__(self, encoder: Encoder, prefixes: Prefixes = BARE) -> None:
        self.encoder = encoder
        self.prefixes = prefixes
        self.asked: list[str] = []

    def encode(self, texts, *, role, prefixes=True, progress=None):
        prefix = self.prefixes.of(role) if prefixes else ""
        written = [prefix + text for text in texts]
        self.asked += written
        return self.encoder.encode(written, role=role, prefixes=False)


@pytest.fixture
def spy(minilm) -> Spy:
    return Spy(minilm)


def dense(spy: Spy, settings: IndexSettings = FAIR) -> Dense:
    vectors = TitleVectors.encoded(CATALOGUE.titles, spy, settings)
    return Dense.build(CATALOGUE, vectors, settings)


def test_scores_are_cosines(spy, minilm):
    (hits,) = dense(spy).search(["scarlet glider"], 3)
    (query,) = minilm.encode(["scarlet glider"], role="query")
    titles = minilm.encode([hit_title(hit) for hit in hits], role="document")
    assert [hit.score for hit in hits] == pytest.approx(titles @ query, abs=1e-5)
    assert "kite" in hit_title(hits[0])


def hit_title(hit) -> str:
    return TITLES[hit.row]


def test_items_of_one_title_tie_and_stand_by_row(spy):
    (hits,) = dense(spy).search(["Red kite"], 2)
    assert [hit.row for hit in hits] == [0, 3]
    assert hits[0].score == hits[1].score == pytest.approx(1.0, abs=1e-6)


def test_every_distinct_title_is_encoded_once(spy):
    dense(spy)
    assert sorted(spy.asked) == sorted(set(TITLES))


def test_a_title_of_the_catalogue_is_not_encoded_again_as_a_query(spy):
    retriever = dense(spy)
    spy.asked.clear()
    retriever.search([*TITLES, "xyzzy", *TITLES, "xyzzy"], 2)
    assert spy.asked == ["xyzzy"]


def test_with_prefixes_a_title_is_another_text_as_a_query(minilm):
    spy = Spy(minilm, Prefixes("query: ", "passage: "))
    retriever = dense(spy)
    assert set(spy.asked) == {f"passage: {title}" for title in TITLES}
    spy.asked.clear()
    retriever.search(["Red kite"], 2)
    assert spy.asked == ["query: Red kite"]


def test_paper_writes_the_marker_on_both_sides_and_no_prefixes(minilm):
    spy = Spy(minilm, Prefixes("query: ", "passage: "))
    retriever = dense(spy, PAPER)
    assert set(spy.asked) == {f"Title: {title}" for title in TITLES}
    spy.asked.clear()
    retriever.search(["Red kite", "kite"], 2)
    assert spy.asked == ["Title: kite"]


def test_known_titles_keep_their_vectors_wherever_they_stand_now(spy):
    old = TitleVectors.encoded(["Tea pot", "Red kite"], spy, FAIR)
    spy.asked.clear()
    new = TitleVectors.encoded(["Red kite", "Soap", "Tea pot"], spy, FAIR, known=old)
    assert spy.asked == ["Soap"]
    assert (new.vectors[[2, 0]] == old.vectors).all()
    fewer = TitleVectors.encoded(["Red kite"], spy, FAIR, known=old)
    assert (fewer.vectors == old.vectors[1:]).all()


def test_without_a_positive_cosine_nothing_is_found():
    vectors = np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    rows, products = Exhaustive(vectors).search(np.array([[1, 0]], dtype=np.float32), 3)
    assert (rows.tolist(), products.tolist()) == ([[0, 1, 2]], [[1, 0, -1]])

    class Fixed:
        vectors = np.zeros((3, 2), dtype=np.float32)

        def of_queries(self, texts):
            return np.array([[1, 0]] * len(texts), dtype=np.float32)

    catalogue = catalogue_of(("a", "b", "c"))
    (hits,) = Dense(catalogue, Fixed(), Exhaustive(vectors)).search(["x"], 3)
    assert [hit.row for hit in hits] == [0]
