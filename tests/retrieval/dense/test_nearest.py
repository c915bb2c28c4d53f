from __future__ import annotations

import numpy as np
import pytest

from gloss.errors import ConfigError
from gloss.retrieval.dense.blocked import top_products
from gloss.retrieval.dense.nearest import Exhaustive


def unit(rows: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VECTORS, QUERIES = np.concatenate([unit(300, 1), unit(300, 1)]), unit(40, 2)


@pytest.mark.parametrize("k", [1, 7, 600, 1000])
def test_a_device_finds_what_numpy_finds_equal_products_by_row(k, monkeypatch):
    torch = pytest.importorskip("torch", reason='needs the extra "dense"')
    monkeypatch.setattr("gloss.retrieval.dense.nearest._SCORES_ON_GPU", 600 * 13)  # several blocks
    device = Exhaustive(VECTORS)
    device._on_gpu = torch.from_numpy(VECTORS)  # the same code, whatever the device
    rows, products = device.search(QUERIES, k)
    expected, scores = top_products(QUERIES, VECTORS, k)
    assert (rows == expected).all()
    assert products == pytest.approx(scores, abs=1e-6)


def test_no_rows_cannot_be_asked_for():
    with pytest.raises(ConfigError, match="at least 1, not 0"):
        Exhaustive(VECTORS).search(QUERIES, 0)
