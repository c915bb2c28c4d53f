"""What every generator keeps, and one that needs no model."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from math import isclose

from gloss.data.catalogue import Catalogue, Item, ItemId
from gloss.data.generations import Generation, Query
from gloss.data.histories import UserId
from gloss.decoding.generator import Footprint, Generator, stream
from gloss.progress import Progress, silent
from gloss.prompts import TITLES_ONLY, Prompt, PromptBuilder, PromptTemplate

__all__ = ["GeneratorContract", "ReplayGenerator"]


class ReplayGenerator:
    """Returns what was generated before: a double for tests, and for work without a model.

    template: of the prompts, which are not read, and so are never cut.

    >>> replay = ReplayGenerator([Generation("u", (), (Query("Red kite", 0, -0.5),))])
    >>> [generation] = replay.generate([Prompt("u", ("b1",), "Red ball")])
    >>> generation.history, generation.queries[0].text
    (('b1',), 'Red kite')
    """

    def __init__(
        self, generations: Sequence[Generation], *, template: PromptTemplate = TITLES_ONLY
    ) -> None:
        self.template = template
        self._queries: Mapping[UserId, tuple[Query, ...]] = {
            generation.user: generation.queries for generation in generations
        }

    def prompt_builder(self) -> PromptBuilder:
        """A builder that counts a letter as a token."""
        return PromptBuilder(self.template, count_tokens=len, max_tokens=sys.maxsize)

    def generate(
        self, prompts: Sequence[Prompt], *, progress: Progress = silent
    ) -> list[Generation]:
        """Each user's known queries; none for a user who is not known."""
        generations = [
            Generation(p.user, p.history, self._queries.get(p.user, ())) for p in prompts
        ]
        if prompts:
            progress(len(prompts), len(prompts))
        return generations

    def within(self, catalogue: Catalogue) -> ReplayGenerator:
        """Itself: it writes what it wrote."""
        return self

    def footprint(self) -> Footprint:
        """No model reads or holds anything."""
        return Footprint(new_tokens=0, peak_megabytes=0)


class GeneratorContract:
    """The fixtures: `generator`, and at least two `prompts` that it writes something for."""

    score_noise = 1e-4
    """What a log-probability may change by when other prompts are generated beside it."""

    def test_one_generation_a_prompt_in_their_order(
        self, generator: Generator, prompts: list[Prompt]
    ) -> None:
        generations = generator.generate(prompts)
        assert [generation.user for generation in generations] == [p.user for p in prompts]
        assert [generation.history for generation in generations] == [p.history for p in prompts]

    def test_beams_count_from_zero_and_the_likeliest_comes_first(
        self, generator: Generator, prompts: list[Prompt]
    ) -> None:
        for generation in generator.generate(prompts):
            assert generation.queries
            beams = [query.beam for query in generation.queries]
            assert beams == [*range(len(generation.queries))]
            logprobs = [q.logprob for q in generation.queries if q.logprob is not None]
            assert logprobs == sorted(logprobs, reverse=True)
            assert all(logprob <= 0 for logprob in logprobs)

    def test_titles_are_trimmed(self, generator: Generator, prompts: list[Prompt]) -> None:
        for generation in generator.generate(prompts):
            assert _titles(generation) == [title.strip() for title in _titles(generation)]

    def test_a_generation_does_not_depend_on_the_other_prompts(
        self, generator: Generator, prompts: list[Prompt]
    ) -> None:
        together = generator.generate(prompts)
        for prompt, beside_others in zip(prompts, together, strict=True):
            (alone,) = generator.generate([prompt])
            assert _titles(alone) == _titles(beside_others)
            for one, other in zip(alone.queries, beside_others.queries, strict=True):
                self._assert_close(one.logprob, other.logprob)

    def test_the_same_prompts_give_the_same_generations(
        self, generator: Generator, prompts: list[Prompt]
    ) -> None:
        assert generator.generate(prompts) == generator.generate(prompts)

    def test_a_user_may_come_twice(self, generator: Generator, prompts: list[Prompt]) -> None:
        first, again = generator.generate([prompts[0], prompts[0]])
        assert _titles(first) == _titles(again)

    def test_no_prompts_give_no_generations(self, generator: Generator) -> None:
        assert generator.generate([]) == []

    def test_progress_rises_to_all_prompts(
        self, generator: Generator, prompts: list[Prompt]
    ) -> None:
        reports: list[tuple[int, int | None]] = []

        def note_down(done: int, total: int | None, /, note: str = "") -> None:
            reports.append((done, total))

        generator.generate(prompts, progress=note_down)
        assert reports == sorted(reports)
        assert reports[-1] == (len(prompts), len(prompts))

    def test_every_title_is_told_once_while_it_streams(
        self, generator: Generator, prompts: list[Prompt]
    ) -> None:
        told: list[tuple[int, str]] = []
        generations = stream(generator, prompts, lambda number, title: told.append((number, title)))
        assert [_titles(each) for each in generations] == [
            _titles(each) for each in generator.generate(prompts)
        ]
        assert len(told) == len(set(told))
        written = {(n, text) for n, each in enumerate(generations) for text in _titles(each)}
        assert written <= set(told)

    def test_its_prompt_builder_builds_prompts_that_it_takes(self, generator: Generator) -> None:
        builder = generator.prompt_builder()
        prompt = builder.build(UserId("u"), (), ["Red kite"])
        assert "Red kite" in prompt.text
        assert builder.count_tokens(prompt.text) > 0
        assert [generation.user for generation in generator.generate([prompt])] == ["u"]

    def test_its_footprint_is_not_negative(self, generator: Generator) -> None:
        footprint = generator.footprint()
        assert footprint.new_tokens >= 0
        assert footprint.peak_megabytes >= 0

    def test_within_a_part_of_the_catalogue_it_writes_for_the_same_users(
        self, generator: Generator, prompts: list[Prompt]
    ) -> None:
        (title, *_) = _titles(generator.generate(prompts[:1])[0])
        part = generator.within(Catalogue([Item(ItemId("b"), title)]))
        assert [generation.user for generation in part.generate(prompts)] == [
            prompt.user for prompt in prompts
        ]
        assert title in _titles(part.generate(prompts[:1])[0])

    def _assert_close(self, one: float | None, other: float | None) -> None:
        if one is None or other is None:
            assert one is other
        else:
            assert isclose(one, other, rel_tol=0, abs_tol=self.score_noise)


def _titles(generation: Generation) -> list[str]:
    return [query.text for query in generation.queries]
