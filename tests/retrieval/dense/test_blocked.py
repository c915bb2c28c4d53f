import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gloss.errors import ConfigError
from gloss.retrieval.dense import blocked
from gloss.retrieval.dense.blocked import top_products


def vectors(rows: int, length: int = 24, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((rows, length), dtype=np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def sorted_whole(queries, items, k):
    """Every product, its terms added in one order, sorted as the rule says."""
    products = np.array([np.einsum("ij,j->i", items, query) for query in queries])
    rows = np.array([np.lexsort((np.arange(len(items)), -row))[:k] for row in products])
    return rows, np.take_along_axis(products, rows, axis=1)


def assert_is_whole(queries, items, k):
    rows, products = top_products(queries, items, k)
    wanted_rows, wanted_products = sorted_whole(queries, items, k)
    assert rows.tolist() == wanted_rows.tolist()
    assert products.tolist() == wanted_products.tolist()


def test_the_largest_product_comes_first():
    items = np.array([[1, 0], [3, 0], [2, 0]], dtype=np.float32)
    rows, products = top_products(np.array([[2, 5]], dtype=np.float32), items, 2)
    assert rows.tolist() == [[1, 2]]
    assert products.tolist() == [[6, 4]]


def test_equal_products_stand_by_row_also_where_the_list_is_cut():
    items = np.array([[1], [2], [1], [2], [2]], dtype=np.float32)
    assert top_products(np.ones((1, 1), np.float32), items, 2)[0].tolist() == [[1, 3]]
    assert top_products(np.ones((1, 1), np.float32), items, 4)[0].tolist() == [[1, 3, 4, 0]]


def test_negative_products_are_ordered_too_and_zeros_have_no_sign():
    items = np.array([[-1], [-3], [0], [-2], [-0.0]], dtype=np.float32)
    rows, products = top_products(np.ones((1, 1), np.float32), items, 9)
    assert rows.tolist() == [[2, 4, 0, 3, 1]]
    assert products.tolist() == [[0, 0, -1, -2, -3]]


@pytest.mark.parametrize("k", [1, 20, 600, 5000])
def test_it_is_the_beginning_of_the_whole_order(k):
    assert_is_whole(vectors(40, seed=1), vectors(1500), k)


def test_equal_items_far_apart_tie_to_the_last_bit():
    items = np.tile(vectors(700), (3, 1))
    rows, products = top_products(vectors(300, seed=1), items, 3)
    assert (rows == rows[:, :1] + [0, 700, 1400]).all()
    assert (products == products[:, :1]).all()


def test_a_query_finds_alone_what_it_finds_in_company():
    queries, items = vectors(600, seed=1), vectors(2000)
    rows, products = top_products(queries, items, 5)
    for place in (0, 255, 256, 599):
        alone = top_products(queries[place : place + 1], items, 5)
        assert alone[0].tolist() == rows[place : place + 1].tolist()
        assert alone[1].tolist() == products[place : place + 1].tolist()


def test_threads_change_nothing():
    queries, items = vectors(1100, seed=1), vectors(600)
    one, four = (top_products(queries, items, 7, threads=threads) for threads in (1, 4))
    assert one[0].tolist() == four[0].tolist()
    assert one[1].tolist() == four[1].tolist()


@pytest.mark.parametrize("k", [1, 30])
def test_several_blocks_of_items_are_one_list(monkeypatch, k):
    monkeypatch.setattr(blocked, "_ITEMS", 512)
    items = np.concatenate([vectors(600), vectors(600), vectors(7, seed=2)])
    assert_is_whole(vectors(20, seed=1), items, k)


def test_of_no_queries_or_no_items_nothing_is_found():
    assert top_products(vectors(0), vectors(3), 2)[0].shape == (0, 2)
    assert top_products(vectors(3), vectors(0), 2)[0].shape == (3, 0)


def test_a_query_without_direction_finds_the_first_rows():
    rows, products = top_products(np.zeros((1, 24), np.float32), vectors(700), 3)
    assert rows.tolist() == [[0, 1, 2]]
    assert products.tolist() == [[0, 0, 0]]


def test_asking_for_no_items_is_an_error():
    with pytest.raises(ConfigError, match="at least 1, not 0"):
        top_products(vectors(1), vectors(1), 0)


few = st.sampled_from([-1.5, -1, -0.25, 0, 0.1, 0.3, 1, 2])


@given(
    arrays(np.float32, st.tuples(st.integers(1, 5), st.just(3)), elements=few),
    arrays(np.float32, st.tuples(st.integers(1, 60), st.just(3)), elements=few),
    st.integers(1, 70),
)
def test_ties_of_all_kinds_stand_by_row(queries, items, k):
    assert_is_whole(queries, items, k)
