import random
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gloss.retrieval.lexical import bm25
from gloss.retrieval.lexical.bm25 import BM25, COMPILED_FROM
from gloss.retrieval.retriever import IndexSettings
from gloss.testing.catalogues import TITLES, catalogue_of
from gloss.testing.retrievers import RetrieverContract

pytest.importorskip("numba", reason="compiled search needs numba")

PAPER = IndexSettings(title_style="paper", marker=True, exact_first=False)
FAIR = IndexSettings(exact_first=False)
SETTINGS = pytest.mark.parametrize("settings", [PAPER, FAIR], ids=["marker", "no marker"])


@pytest.fixture
def always_compiled(monkeypatch):
    monkeypatch.setattr(bm25, "COMPILED_FROM", 0)


@pytest.mark.usefixtures("always_compiled")
class TestCompiledBM25(RetrieverContract):
    @pytest.fixture
    def retriever(self):
        return BM25.build(catalogue_of(TITLES), FAIR)


@pytest.mark.usefixtures("always_compiled")
class TestCompiledBM25WithTheMarker(RetrieverContract):
    @pytest.fixture
    def retriever(self):
        return BM25.build(catalogue_of(TITLES), PAPER)


def by_both(titles, texts, settings, k):
    """The hits of compiled code and those of numpy."""
    retriever = BM25.build(catalogue_of(tuple(titles)), settings)
    found = []
    for limit in (0, len(texts) + 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bm25, "COMPILED_FROM", limit)
            found.append(retriever.search(texts, k))
    return found


def drawn(rng, words, least, most):
    return " ".join(rng.choices(words, k=rng.randint(least, most)))


@SETTINGS
@pytest.mark.parametrize("k", [1, 20, 2000])
def test_of_many_texts_and_titles_both_find_the_same(settings, k):
    rng = random.Random(k)
    words = [f"w{number}" for number in range(60)] + ["the", "title", "unknown?"]
    titles = [drawn(rng, words[:50], 1, 9) for _ in range(1300)]
    texts = [drawn(rng, words, 0, 7) for _ in range(200)]
    compiled, numpy = by_both(titles, texts, settings, k)
    assert compiled == numpy


@SETTINGS
def test_texts_of_many_parts_keep_their_order(settings):
    titles = [f"a{row % 90} b{row % 7}" for row in range(300)]
    texts = [f"a{n % 90} b{n // 90}" for n in range(9000)]
    compiled, numpy = by_both(titles, texts, settings, 2)
    assert compiled == numpy


few_words = st.lists(st.sampled_from(["red", "kite", "ball", "the", "title"]), max_size=6)


@given(
    st.lists(few_words.map(lambda words: " ".join(["pot", *words])), min_size=1, max_size=8),
    st.lists(few_words.map(" ".join), min_size=1, max_size=4),
    st.sampled_from([PAPER, FAIR]),
    st.integers(1, 9),
)
def test_of_a_few_words_both_find_the_same(titles, texts, settings, k):
    compiled, numpy = by_both(titles, texts, settings, k)
    assert compiled == numpy


@given(
    st.lists(st.lists(st.floats(0, 4, width=32), min_size=6, max_size=6), min_size=1, max_size=9),
    st.lists(st.lists(st.integers(0, 5), max_size=8), min_size=1, max_size=4),
    st.integers(1, 12),
)
def test_whatever_the_numbers_are_the_best_stand_by_score_and_row(adds, known, k):
    from gloss.retrieval.lexical.bm25_kernel import best_by_words

    dense = np.array(adds, dtype=np.float32)
    column, row = np.nonzero(dense.T)
    indptr = np.searchsorted(column, np.arange(dense.shape[1] + 1))
    matrix = dense.T[column, row], row.astype(np.int32), indptr
    ((rows, scores, counts),) = best_by_words(matrix, np.zeros(len(dense), np.float32), known, k)
    for place, words in enumerate(known):
        sums = np.zeros(len(dense), dtype=np.float32)
        for word in words:
            sums += dense[:, word]
        best = sorted((-score, row) for row, score in enumerate(sums.tolist()) if score > 0)[:k]
        filled = slice(counts[place])
        pairs = zip((-scores[place, filled]).tolist(), rows[place, filled].tolist(), strict=True)
        assert list(pairs) == best


def test_without_numba_numpy_finds_the_same(monkeypatch):
    retriever = BM25.build(catalogue_of(TITLES), FAIR)
    texts = [f"red kite {number}0" for number in range(COMPILED_FROM)]
    found = retriever.search(texts, 3)
    monkeypatch.delitem(sys.modules, "gloss.retrieval.lexical.bm25_kernel")
    monkeypatch.setitem(sys.modules, "numba", None)
    assert retriever.search(texts, 3) == found
    assert "gloss.retrieval.lexical.bm25_kernel" not in sys.modules
