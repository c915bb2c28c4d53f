from __future__ import annotations

import pytest

from contracts import TITLES, RetrieverContract, catalogue_of
from gloss.retrieval.bm25 import BM25
from gloss.retrieval.exact import Exact, ExactFirst
from gloss.retrieval.index import IndexSettings

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
