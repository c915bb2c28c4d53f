from __future__ import annotations

import numpy as np
import pytest

from gloss.errors import ConfigError, InputError, MissingExtraError
from gloss.retrieval.dense import approximate
from gloss.retrieval.dense.approximate import Approximate, neighbours_of
from gloss.retrieval.dense.nearest import Exhaustive

pytest.importorskip("faiss", reason='needs the extra "faiss"')

ROWS, K = 3000, 10


def unit(rows: int, seed: int) -> np.ndarray:
    """Vectors of length 1 about a few centres, as titles are."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((40, 32))
    vectors = centres[random.integers(40, size=rows)] + random.standard_normal((rows, 32))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VECTORS, QUERIES = unit(ROWS, 1), unit(50, 2)


@pytest.fixture(scope="module", params=["hnsw", "ivf"])
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def made(kind) -> Approximate:
    return Approximate.build(VECTORS, kind)


def overlap(rows: np.ndarray, others: np.ndarray) -> float:
    pairs = zip(rows.tolist(), others.tolist(), strict=True)
    return float(np.mean([len({*one} & {*other}) / K for one, other in pairs]))


def test_it_finds_nearly_what_comparing_with_all_finds(made):
    rows, products = made.search(QUERIES, K)
    exact, _ = Exhaustive(VECTORS).search(QUERIES, K)
    assert overlap(rows, exact) > 0.95
    expected = np.einsum("qd,qkd->qk", QUERIES, VECTORS[rows])
    assert products == pytest.approx(expected, abs=1e-5)
    assert (np.diff(products, axis=1) <= 0).all()


def test_equal_products_stand_by_row():
    twice = np.concatenate([VECTORS, VECTORS])
    rows, products = Approximate.build(twice, "hnsw").search(VECTORS[:20], 2)
    tie = products[:, 0] == products[:, 1]
    assert tie.sum() >= 10  # the graph differs from build to build, and misses some
    assert (rows[tie, 1] == rows[tie, 0] + ROWS).all()


def test_saved_it_finds_the_same(made, tmp_path):
    made.save(tmp_path / "index")
    loaded = Approximate.load(tmp_path / "index", VECTORS)
    for one, other in zip(made.search(QUERIES, K), loaded.search(QUERIES, K), strict=True):
        assert (one == other).all()


def test_rows_added_later_are_found_at_once(kind):
    previous = Approximate.build(VECTORS[:-100], kind)
    grown = neighbours_of(VECTORS, kind, previous=previous)
    assert (len(previous), len(grown)) == (ROWS - 100, ROWS)
    rows, products = grown.search(VECTORS[-100:], 1)
    assert (rows[:, 0] == np.arange(ROWS - 100, ROWS)).mean() > 0.95
    assert products.max() == pytest.approx(1, abs=1e-5)


def test_more_than_there_is_cannot_be_found(made):
    rows, products = made.search(QUERIES[:2], 2 * ROWS)
    assert rows.shape == (2, ROWS)
    assert (products[rows < 0] < 0).all()
    with pytest.raises(ConfigError, match="at least 1, not 0"):
        made.search(QUERIES, 0)


def test_few_vectors_are_compared_one_by_one(monkeypatch):
    assert isinstance(neighbours_of(VECTORS, "auto"), Exhaustive)
    monkeypatch.setattr(approximate, "APPROXIMATE_FROM", ROWS)
    assert isinstance(neighbours_of(VECTORS, "auto"), Approximate)
    assert isinstance(neighbours_of(VECTORS, "exact"), Exhaustive)


def test_cells_need_rows():
    with pytest.raises(InputError, match="3 titles are too few for 6 cells"):
        Approximate.build(VECTORS[:3], "ivf")


def test_without_faiss_auto_is_exact_and_asking_names_the_extra(monkeypatch):
    monkeypatch.setattr(approximate, "APPROXIMATE_FROM", 1)
    monkeypatch.setattr(approximate, "find_spec", lambda name: None)
    assert isinstance(neighbours_of(VECTORS, "auto"), Exhaustive)
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[faiss\]"'):
        neighbours_of(VECTORS, "hnsw")


@pytest.fixture
def saved(kind, tmp_path):
    """An index of few rows, and its file."""
    Approximate.build(VECTORS[:300], kind).save(tmp_path / "index")
    return tmp_path / "index"


def test_faiss_reads_no_file_but_one_of_ours_over_these_vectors(saved):
    assert len(Approximate.load(saved, VECTORS[:300])) == 300
    with pytest.raises(ValueError, match="where"):
        Approximate.load(saved, VECTORS[:299])
    with pytest.raises(ValueError, match="its vectors are others"):
        Approximate.load(saved, VECTORS[300:600])


def test_a_changed_file_is_refused_or_still_an_index_of_these_rows(saved):
    content, rng = saved.read_bytes(), np.random.default_rng(0)
    refused = 0
    for place in [*range(0, 200, 3), *rng.integers(0, len(content), 60).tolist()]:
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        saved.write_bytes(changed)
        try:
            loaded = Approximate.load(saved, VECTORS[:300])
        except ValueError:
            refused += 1
            continue
        rows, _ = loaded.search(QUERIES[:5], K)
        assert ((rows >= -1) & (rows < 300)).all()
    assert refused > 60  # the rest are numbers of the head that mean nothing, and edges


@pytest.mark.parametrize("keep", [0, 3, 36, 500, -1])
def test_a_file_that_ends_early_is_refused(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"index: it ends too early|where|mmap an empty file"):
        Approximate.load(saved, VECTORS[:300])
