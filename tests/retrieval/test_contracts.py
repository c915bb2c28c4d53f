from __future__ import annotations

import pytest

from gloss.retrieval.index import build_index
from gloss.retrieval.lexical.bm25 import BM25
from gloss.retrieval.lexical.exact_titles import Exact, ExactFirst
from gloss.retrieval.retriever import IndexSettings
from gloss.testing.catalogues import TITLES, catalogue_of
from gloss.testing.retrievers import EncoderContract, RetrieverContract

PAPER = IndexSettings(title_style="paper", marker=True, exact_first=False)


class TestBM25(RetrieverContract):
    @pytest.fixture
    def retriever(self):
        return BM25.build(catalogue_of(TITLES), IndexSettings())


class TestBM25WithTheMarker(RetrieverContract):
    @pytest.fixture
    def retriever(self):
        return BM25.build(catalogue_of(TITLES), PAPER)


class TestExact(RetrieverContract):
    @pytest.fixture
    def retriever(self):
        return Exact(catalogue_of(TITLES))


class TestExactFirst(RetrieverContract):
    @pytest.fixture
    def retriever(self):
        catalogue = catalogue_of(TITLES)
        return ExactFirst(Exact(catalogue), BM25.build(catalogue, IndexSettings()))


class InMemory(EncoderContract):
    @pytest.fixture
    def retriever(self, minilm):
        return build_index(catalogue_of(TITLES), self.settings)


class TestDense(InMemory):
    settings = IndexSettings(retriever="dense", exact_first=False)


class TestDenseWithTheMarkerAndExactTitlesFirst(InMemory):
    settings = IndexSettings(retriever="dense", marker=True)


class TestDenseWithFaissHNSW(InMemory):
    settings = IndexSettings(retriever="dense", neighbours="hnsw", exact_first=False)


class TestHybridByRanks(InMemory):
    settings = IndexSettings(retriever="hybrid", exact_first=False)


class TestHybridByScores(InMemory):
    settings = IndexSettings(retriever="hybrid", blend="weighted", weight=0.7, exact_first=False)
