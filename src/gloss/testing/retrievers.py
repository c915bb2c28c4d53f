"""What every retriever keeps."""

from __future__ import annotations

from itertools import pairwise
from math import isclose

from gloss.errors import ConfigError
from gloss.retrieval.retriever import Retriever
from gloss.testing.catalogues import TITLES

__all__ = ["TEXTS", "EncoderContract", "RetrieverContract"]

TEXTS = (*TITLES, "kite", "red", "red kite with salt", "KITE", "pot pot tea", "xyzzy", "", "  ")
"""What the contract searches for: titles, parts of titles, and what is in none."""


class RetrieverContract:
    """The fixture `retriever` searches `catalogue_of(TITLES)`."""

    finds_nothing: tuple[str, ...] = ("xyzzy", "", "   ", "?!", "🙃")
    """Texts without anything to search for."""
    score_noise = 0.0
    """What a score may change by when other texts are searched beside it."""

    def test_at_most_k_distinct_items_of_the_catalogue_are_found(
        self, retriever: Retriever
    ) -> None:
        for k in (1, 3, 100):
            for hits in retriever.search(TEXTS, k):
                assert len(hits) <= k
                assert len({hit.row for hit in hits}) == len(hits)
                assert all(hit.item == f"b{hit.row}" for hit in hits)

    def test_the_best_comes_first_and_equal_scores_stand_by_row(self, retriever: Retriever) -> None:
        for hits in retriever.search(TEXTS, 100):
            order = [(-hit.score, hit.row) for hit in hits]
            assert order == sorted(order)
            assert all(hit.score > 0 for hit in hits)

    def test_a_shorter_list_is_the_beginning_of_a_longer_one(self, retriever: Retriever) -> None:
        lists = [retriever.search(TEXTS, k) for k in range(1, len(TITLES) + 1)]
        for shorter, longer in pairwise(lists):
            assert [hits[: len(few)] for few, hits in zip(shorter, longer, strict=True)] == shorter

    def test_what_a_text_finds_does_not_depend_on_the_others(self, retriever: Retriever) -> None:
        together = retriever.search(TEXTS, 5)
        alone = [retriever.search([text], 5)[0] for text in TEXTS]
        backwards = retriever.search(TEXTS[::-1], 5)[::-1]
        for others in (alone, backwards):
            for hits, same in zip(together, others, strict=True):
                assert [hit.row for hit in hits] == [hit.row for hit in same]
                for one, other in zip(hits, same, strict=True):
                    assert isclose(one.score, other.score, rel_tol=0, abs_tol=self.score_noise)

    def test_a_text_without_a_known_word_finds_nothing(self, retriever: Retriever) -> None:
        for text in self.finds_nothing:
            assert retriever.search([text], 5) == [()]

    def test_no_texts_find_nothing(self, retriever: Retriever) -> None:
        assert retriever.search([], 5) == []

    def test_no_items_cannot_be_asked_for(self, retriever: Retriever) -> None:
        import pytest  # whoever runs a contract has it; whoever imports one need not

        for k in (0, -1):
            with pytest.raises(ConfigError, match=f"at least 1, not {k}"):
                retriever.search(["red kite"], k)

    def test_every_title_finds_its_item_if_it_holds_a_word(self, retriever: Retriever) -> None:
        for row, title in enumerate(TITLES):
            if title != "The Of And":
                (hits,) = retriever.search([title], 100)
                assert row in [hit.row for hit in hits]


class EncoderContract(RetrieverContract):
    """An encoder knows every word, and rounds by the company that a text is encoded in."""

    finds_nothing = ("", "   ", "\t\n")
    score_noise = 1e-6
