"""A generator that runs a transformers model here: beam search, or scores of all titles.

Knows prompts, titles and their tokens; leaves token-level search to a `Search`, which may be that
of another engine (`decoding/vllm/`).
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from copy import copy
from functools import lru_cache, partial

import numpy as np
import torch

from gloss.config import Decoding
from gloss.data.catalogue import Catalogue
from gloss.data.generations import Generation, Query
from gloss.decoding.beams import BeamSettings, Hypothesis
from gloss.decoding.choose_search import choose_search
from gloss.decoding.exhaustive import ExhaustiveSearch
from gloss.decoding.generator import (
    Footprint,
    GeneratorRequest,
    GeneratorSpec,
    OnTitle,
    each_once,
)
from gloss.decoding.search import OnFinished, Search, steps_of
from gloss.decoding.title_trie import TitleTrie
from gloss.errors import ConfigError
from gloss.language.examples import encode_prompts, title_as_text
from gloss.language.loading import LanguageModel, context_of, load_language_model
from gloss.progress import Progress, silent
from gloss.prompts import Prompt, PromptBuilder

__all__ = ["TRANSFORMERS", "MakeSearch", "TransformersGenerator"]

MakeSearch = Callable[[BeamSettings, TitleTrie | None], Search]

_CACHED_TITLES = 2**16


class TransformersGenerator:
    """Titles by a transformers model, inside the catalogue or free."""

    def __init__(
        self,
        language: LanguageModel,
        settings: Decoding,
        catalogue: Catalogue | None = None,
        *,
        memory_share: float = 1.0,
        trie: TitleTrie | None = None,
        make_search: MakeSearch | None = None,
    ) -> None:
        """catalogue: needed in the modes "catalogue" and "exact".

        For one of several generators that run in turn: memory_share, of the free memory of a GPU;
        trie, that of another one with the same tokenizer and settings, which then is not built
        again. make_search: makes the search of an engine that holds the weights; `language` then
        needs none (`language.loading.without_weights`).
        """
        self.language = language
        self.device = _device_of(language)
        self.settings = settings
        self.end = int(language.tokenizer.eos_token_id)
        self.catalogue = catalogue
        # Many users are offered the same title, and turning tokens into text is slow.
        self._title_of = lru_cache(_CACHED_TITLES)(self._decoded)
        self.trie = (trie or self._title_trie()) if settings.mode != "free" else None
        beams = BeamSettings(
            beams=settings.beams,
            returned=settings.returned or settings.beams,
            max_new_tokens=settings.max_new_tokens,
            length_penalty=settings.length_penalty,
            end=self.end,
        )
        self.steps = steps_of(beams, self.trie)
        make_search = make_search or partial(self._search, memory_share=memory_share)
        self.search = make_search(beams, self.trie)

    def _search(
        self, beams: BeamSettings, trie: TitleTrie | None, *, memory_share: float
    ) -> Search:
        model, entries = self.language.model, self.settings.batch_tokens
        if self.settings.mode == "exact" and trie:
            return ExhaustiveSearch(model, beams, trie)
        return choose_search(model, beams, trie, entries=entries, memory_share=memory_share)

    def prompt_builder(self) -> PromptBuilder:
        """See `Generator.prompt_builder`. Prompts lose their oldest purchases to leave room for the
        answer; if tokens are to be cut on the left instead, they are built whole."""
        return PromptBuilder(
            self.language.template,
            count_tokens=lambda text: len(self._encode([text])[0]),
            max_tokens=sys.maxsize if self.settings.cut == "left" else self._room(),
            as_text=title_as_text(self.language.tokenizer, self.language.template),
        )

    def generate(
        self, prompts: Sequence[Prompt], *, progress: Progress = silent
    ) -> list[Generation]:
        """Titles for every prompt, likeliest first, with their log-probabilities."""
        return self._generate(prompts, progress, None)

    def stream(self, prompts: Sequence[Prompt], on_title: OnTitle) -> list[Generation]:
        """See `StreamingGenerator.stream`: titles are told as their beams finish."""
        tell = each_once(on_title)

        def on_finished(prompt: int, hypotheses: tuple[Hypothesis, ...]) -> None:
            for hypothesis in hypotheses:
                tell(prompt, self._title_of(hypothesis.tokens))

        generations = self._generate(prompts, silent, on_finished)
        for number, generation in enumerate(generations):
            for query in generation.queries:
                tell(number, query.text)  # an exact search finishes all at once
        return generations

    def _generate(
        self, prompts: Sequence[Prompt], progress: Progress, on_finished: OnFinished | None
    ) -> list[Generation]:
        encoded = self._encode([prompt.text for prompt in prompts])
        tokens = sum(map(len, encoded)) / max(1, len(encoded))
        results = self.search.search(
            encoded, progress=_with_rate(progress, tokens), on_finished=on_finished
        )
        return [
            Generation(prompt.user, prompt.history, self._queries(hypotheses))
            for prompt, hypotheses in zip(prompts, results, strict=True)
        ]

    def within(self, catalogue: Catalogue) -> TransformersGenerator:
        """See `Generator.within`: the beams walk a trie of these titles alone.

        One longer than all that it was opened with is left out: there is no room for its answer.
        """
        if self.trie is None:
            return self
        other = copy(self)
        other.catalogue = catalogue
        other.trie = other._title_trie(shorter_than=self.steps)
        other.search = self.search.within(other.trie)
        return other

    def footprint(self) -> Footprint:
        """See `Generator.footprint`; memory of the model's CUDA device, else of the process."""
        return Footprint(self._new_tokens(), _peak_megabytes(self.device))

    def title_scores(self, prompts: Sequence[Prompt]) -> np.ndarray:
        """The log-probability of every title of the catalogue: float32 (prompts, titles).

        Columns stand in the order of `catalogue.titles`; a title too long for the model gets -inf.
        Raises ConfigError in another mode than "exact".
        """
        if self.trie is None or not isinstance(self.search, ExhaustiveSearch):
            raise ConfigError('the score of every title needs decoding mode "exact"')
        nodes = self.trie.follow(self._titles(), end=self.end)  # (titles,) leaves, or dead
        column_of = torch.full((self.trie.dead + 1,), -1, device=nodes.device)
        column_of[self.trie.leaves] = torch.arange(len(self.trie.leaves), device=nodes.device)
        columns = column_of[nodes]  # (titles,)
        scores = self.search.score(self._encode([prompt.text for prompt in prompts]))
        aligned = torch.where(columns >= 0, scores[:, columns.clamp_min(0)], -torch.inf)
        title_scores: np.ndarray = aligned.float().cpu().numpy()
        return title_scores

    def _new_tokens(self) -> int:
        if self.trie and self.settings.mode == "exact":
            return self.trie.dead - len(self.trie.leaves) - 1  # every node that goes on, no root
        return self.steps * self.settings.beams

    def _queries(self, hypotheses: tuple[Hypothesis, ...]) -> tuple[Query, ...]:
        return tuple(
            Query(self._title_of(hypothesis.tokens), beam, hypothesis.score)
            for beam, hypothesis in enumerate(hypotheses)
        )

    def _decoded(self, tokens: tuple[int, ...]) -> str:
        text = self.language.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return self.language.template.title_of(text)

    def _title_trie(self, *, shorter_than: int = sys.maxsize) -> TitleTrie:
        vocabulary = self.language.model.config.get_text_config().vocab_size
        titles = self._writable(self._titles(), shorter_than)
        trie = TitleTrie.build(titles, end=self.end, vocabulary=vocabulary)
        return trie.to(self.device)

    def _titles(self) -> list[list[int]]:
        """The catalogue's titles as the model would write them."""
        if self.catalogue is None:
            raise ConfigError(f'decoding mode "{self.settings.mode}" needs the catalogue')
        template = self.language.template
        answers = [template.render_answer(title) for title in self.catalogue.titles]
        # A title may hold what a model means by "end of text"; in a title it is just letters.
        ids: list[list[int]] = self.language.tokenizer(
            answers, add_special_tokens=False, split_special_tokens=True
        )["input_ids"]
        return ids

    def _writable(self, titles: Sequence[list[int]], shorter_than: int) -> list[list[int]]:
        """Titles that take less than half of the context: a longer one, which no model of this
        context has learned, must not take the room that everybody's prompt needs."""
        limit = min(shorter_than, self._context() // 2)
        writable = [title for title in titles if len(title) < limit]
        if not writable:
            raise ConfigError("no title fits into half of the model's context: take a larger one")
        return writable

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        longest = self._room() if self.settings.cut == "left" else None
        return encode_prompts(
            self.language.tokenizer, self.language.template, texts, longest=longest
        )

    def _room(self) -> int:
        """Tokens that a prompt may have."""
        return self._context() - self.steps

    def _context(self) -> int:
        return context_of(self.language)


def _device_of(language: LanguageModel) -> torch.device:
    """Where a search keeps its tensors: with the model, or, for one without weights, where an
    engine has them."""
    device: torch.device = language.model.device
    if device.type != "meta":
        return device
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _with_rate(progress: Progress, prompt_tokens: float) -> Progress:
    """Progress with users and prompt tokens a second as its note; prompt_tokens: of a user."""
    started = time.monotonic()

    def report(done: int, total: int | None, /, note: str = "") -> None:
        rate = done / max(1e-9, time.monotonic() - started)
        progress(done, total, f"{rate:,.1f} users/s, {rate * prompt_tokens:,.0f} prompt tokens/s")

    return report


def _peak_megabytes(device: torch.device) -> int:
    """The most memory held so far: of a CUDA device, else of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() // 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, else KiB


def _open(request: GeneratorRequest) -> TransformersGenerator:
    language = load_language_model(request.model, device=request.device, loading=request.loading)
    return TransformersGenerator(language, request.settings, request.catalogue)


TRANSFORMERS = GeneratorSpec(serves=lambda request: True, open=_open)
