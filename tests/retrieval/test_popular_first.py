"""Equal scores go by sales, however deep one has to search for all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gloss.arrays import top_rows
from gloss.data.catalogue import Catalogue, Item
from gloss.retrieval.index import build_index, load_index
from gloss.retrieval.popular_first import PopularFirst
from gloss.retrieval.retriever import Hit
from gloss.retrieval.settings import BM25Settings
from preparing import save_index


class Given:
    """A retriever with the same scores for every text; it notes how deep it was asked."""

    def __init__(self, scores: list[float]) -> None:
        self.scores = np.array(scores)
        self.depths: list[int] = []

    def search(self, texts, k):
        self.depths.append(k)
        rows = top_rows(self.scores, k).tolist() if len(self.scores) else []
        return [tuple(Hit(f"i{r}", r, float(self.scores[r])) for r in rows) for _ in texts]


cases = st.lists(st.tuples(st.sampled_from([0.0, 1.0, 2.0]), st.integers(0, 3)), min_size=1)


@given(cases, st.integers(1, 12))
def test_the_first_k_by_score_then_sales_then_row(case, k):
    scores, sales = [pair[0] for pair in case], [pair[1] for pair in case]
    right = sorted(
        (row for row, score in enumerate(scores) if score > 0),
        key=lambda row: (-scores[row], -sales[row], row),
    )
    (found,) = PopularFirst(Given(scores), np.array(sales)).search(["any"], k)
    assert [hit.row for hit in found] == right[:k]


def test_one_search_is_enough_where_the_list_does_not_end_among_equals():
    given_scores = Given([5.0, 4.0, 3.0, 2.0])
    PopularFirst(given_scores, np.zeros(4, np.int64)).search(["any"], 2)
    assert given_scores.depths == [3]


VARIANTS = Catalogue([*(Item(f"m{n}", "Red mug") for n in range(30)), Item("k", "Blue kite")])


@pytest.mark.parametrize("k", [1, 3])
def test_the_most_bought_of_thirty_mugs_comes_first(k):
    bought = np.zeros(31, np.int64)
    bought[[29, 17, 4]] = 3, 2, 1
    found = build_index(VARIANTS, BM25Settings(), times_bought=bought).search(["red mug"], k)
    assert [hit.item for hit in found[0]] == ["m29", "m17", "m4"][:k]
    by_row = BM25Settings(popular_first=False)
    found = build_index(VARIANTS, by_row, times_bought=bought).search(["red mug"], k)
    assert [hit.item for hit in found[0]] == ["m0", "m1", "m2"][:k]


def test_an_index_holds_how_often_training_bought_each_item(dataset, tmp_path):
    save_index(dataset, tmp_path / "index", BM25Settings())
    counts = {item.id: 0 for item in dataset.catalogue("fair")}
    for history in dataset.train():
        for item in history.items:
            counts[item] += 1
    assert load_index(tmp_path / "index").times_bought.tolist() == list(counts.values())
    assert sum(counts.values()) > 0
