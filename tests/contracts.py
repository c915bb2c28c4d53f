"""What every Retriever and every Generator keeps; test classes inherit it and give fixtures."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gloss.data.catalogue import Catalogue, Item
from gloss.decoding.generator import Generator
from gloss.errors import ConfigError
from gloss.prompts import Prompt
from gloss.retrieval.retriever import Retriever

__all__ = ["TITLES", "EncoderContract", "GeneratorContract", "RetrieverContract", "catalogue_of"]

TITLES = (
    "Red kite",
    "Blue kite with a long tail",
    "Red ball",
    "Red kite",
    "Tea pot",
    "The Of And",
    "Red red kite, red",
    "<b>Salt</b> &amp; pepper 🧂",
)

TEXTS = (*TITLES, "kite", "red", "red kite with salt", "KITE", "pot pot tea", "xyzzy", "", "  ")


def catalogue_of(titles: tuple[str, ...]) -> Catalogue:
    return Catalogue(Item(f"b{row}", title) for row, title in enumerate(titles))


class RetrieverContract:
    """The fixture `retriever` searches `catalogue_of(TITLES)`.

    finds_nothing: texts without anything to search for. noise: what a score may move by when other
    texts are searched beside it.
    """

    finds_nothing: tuple[str, ...] = ("xyzzy", "", "   ", "?!", "🙃")
    noise = 0.0

    @pytest.mark.parametrize("k", [1, 3, 100])
    def test_at_most_k_distinct_items_of_the_catalogue_are_found(
        self, retriever: Retriever, k: int
    ) -> None:
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
        for others in (alone, retriever.search(TEXTS[::-1], 5)[::-1]):
            for hits, same in zip(together, others, strict=True):
                assert [hit.row for hit in hits] == [hit.row for hit in same]
                scores = [hit.score for hit in hits]
                assert [hit.score for hit in same] == pytest.approx(scores, rel=0, abs=self.noise)

    def test_a_text_without_a_known_word_finds_nothing(self, retriever: Retriever) -> None:
        for text in self.finds_nothing:
            assert retriever.search([text], 5) == [()]

    def test_no_texts_find_nothing(self, retriever: Retriever) -> None:
        assert retriever.search([], 5) == []

    @pytest.mark.parametrize("k", [0, -1])
    def test_no_items_cannot_be_asked_for(self, retriever: Retriever, k: int) -> None:
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
    noise = 1e-6


class GeneratorContract:
    """The fixtures: `generator`, and at least two `prompts` that it has something to say to."""

    def test_one_generation_a_prompt_in_their_order(
        self, generator: Generator, prompts: list[Prompt]
    ) -> None:
        made = generator.generate(prompts)
        assert [each.user for each in made] == [prompt.user for prompt in prompts]
        assert [each.history for each in made] == [prompt.history for prompt in prompts]

    def test_beams_count_from_zero_and_the_likeliest_comes_first(
        self, generator: Generator, prompts: list[Prompt]
    ) -> None:
        for each in generator.generate(prompts):
            assert [query.beam for query in each.queries] == [*range(len(each.queries))]
            chances = [q.logprob for q in each.queries if q.logprob is not None]
            assert chances == sorted(chances, reverse=True)
            assert all(chance <= 0 for chance in chances)
            assert each.queries

    def test_titles_are_trimmed(self, generator: Generator, prompts: list[Prompt]) -> None:
        texts = [q.text for each in generator.generate(prompts) for q in each.queries]
        assert texts == [text.strip() for text in texts]

    def test_what_is_said_to_a_prompt_does_not_depend_on_the_others(
        self, generator: Generator, prompts: list[Prompt]
    ) -> None:
        together = generator.generate(prompts)
        for prompt, each in zip(prompts, together, strict=True):
            (alone,) = generator.generate([prompt])
            assert [q.text for q in alone.queries] == [q.text for q in each.queries]
            chances = [q.logprob for q in each.queries]
            assert [q.logprob for q in alone.queries] == pytest.approx(chances, abs=1e-4)

    def test_the_same_prompts_give_the_same_generations(
        self, generator: Generator, prompts: list[Prompt]
    ) -> None:
        assert generator.generate(prompts) == generator.generate(prompts)

    def test_a_user_may_ask_twice(self, generator: Generator, prompts: list[Prompt]) -> None:
        first, again = generator.generate([prompts[0], prompts[0]])
        assert [q.text for q in first.queries] == [q.text for q in again.queries]

    def test_no_prompts_give_no_generations(self, generator: Generator) -> None:
        assert generator.generate([]) == []
