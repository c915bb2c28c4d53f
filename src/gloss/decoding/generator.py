"""Generators: whoever writes titles for prompts. One method, one shipped double.

Knows prompts and titles; leaves token-level search to `beam_search`.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch

from gloss.config import Decoding
from gloss.data.catalogue import Catalogue
from gloss.data.generations import Generation, Query
from gloss.data.histories import UserId
from gloss.decoding.beams import BeamSettings, Hypothesis
from gloss.decoding.exhaustive import ExhaustiveSearch
from gloss.decoding.searching import Search, choose_search
from gloss.decoding.title_trie import TitleTrie
from gloss.errors import ConfigError
from gloss.language.examples import encode_prompts
from gloss.language.loading import LanguageModel
from gloss.progress import Progress, silent
from gloss.prompts import Prompt, PromptBuilder

__all__ = ["Generator", "ReplayGenerator", "TransformersGenerator"]

_TITLES_KEPT = 2**16


class Generator(Protocol):
    """Writes titles: one generation a prompt, in the prompts' order."""

    def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """The generations of these prompts."""


class ReplayGenerator:
    """Says again what was generated before; a double for tests and for work without a model."""

    def __init__(self, generations: Sequence[Generation]) -> None:
        self._queries: Mapping[UserId, tuple[Query, ...]] = {
            generation.user: generation.queries for generation in generations
        }

    def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """Each user's known queries; nothing for a user who is not known."""
        return [Generation(p.user, p.history, self._queries.get(p.user, ())) for p in prompts]


class TransformersGenerator:
    """Beam search with a transformers model, inside the catalogue's titles or free."""

    def __init__(
        self,
        language: LanguageModel,
        settings: Decoding,
        catalogue: Catalogue | None = None,
        *,
        share: float = 1.0,
        trie: TitleTrie | None = None,
    ) -> None:
        """`catalogue` is needed in the modes "catalogue" and "exact" only. For one of several
        generators that are asked in turn: share, of the free memory of a GPU; trie, that of another
        with the same tokenizer and settings, which need not be built again."""
        self.language = language
        self.settings = settings
        self.end = int(language.tokenizer.eos_token_id)
        self.catalogue = catalogue
        # Many users are offered the same title, and turning tokens into text is slow.
        self._title_of = lru_cache(_TITLES_KEPT)(self._decoded)
        self.trie = (trie or self._title_trie()) if settings.mode != "free" else None
        self.steps = self.trie.depth if self.trie else settings.max_new_tokens
        beams = BeamSettings(
            beams=settings.beams,
            returned=settings.returned or settings.beams,
            max_new_tokens=settings.max_new_tokens,
            length_penalty=settings.length_penalty,
            end=self.end,
        )
        self.search: Search = (
            ExhaustiveSearch(language.model, beams, self.trie)
            if settings.mode == "exact" and self.trie
            else choose_search(
                language.model, beams, self.trie, entries=settings.batch_tokens, share=share
            )
        )

    def prompt_builder(self) -> PromptBuilder:
        """Makes prompts that leave the model room for its answer, by dropping oldest purchases; if
        they are to be cut on the left instead, they are made whole."""
        return PromptBuilder(
            self.language.template,
            count_tokens=self.count_tokens,
            max_tokens=sys.maxsize if self.settings.cut == "left" else self._room(),
        )

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, with what the tokenizer puts before it."""
        return len(self._encode([text])[0])

    def tokens_a_user(self) -> int:
        """Tokens that the model reads for a user after the prompt, at most."""
        if self.trie and self.settings.mode == "exact":
            return self.trie.dead - len(self.trie.leaves) - 1  # every node that goes on, no root
        return self.steps * self.settings.beams

    def peak_megabytes(self) -> int:
        """The most memory held so far: of the model's CUDA device, else of the whole process."""
        if self.language.model.device.type == "cuda":
            return torch.cuda.max_memory_allocated() // 2**20
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return held // (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, else KiB

    def generate(
        self, prompts: Sequence[Prompt], *, progress: Progress = silent
    ) -> list[Generation]:
        """Titles for every prompt, likeliest first, with their log-probabilities."""
        encoded = self._encode([prompt.text for prompt in prompts])
        tokens = sum(map(len, encoded)) / max(1, len(encoded))
        started = time.monotonic()

        def told(done: int) -> None:
            rate = done / max(1e-9, time.monotonic() - started)
            note = f"{rate:,.1f} users/s, {rate * tokens:,.0f} prompt tokens/s"
            progress(done, len(prompts), note)

        found = self.search.search(encoded, told=told)
        return [
            Generation(prompt.user, prompt.history, self._queries(hypotheses))
            for prompt, hypotheses in zip(prompts, found, strict=True)
        ]

    def _queries(self, hypotheses: tuple[Hypothesis, ...]) -> tuple[Query, ...]:
        return tuple(
            Query(self._title_of(hypothesis.tokens), beam, hypothesis.score)
            for beam, hypothesis in enumerate(hypotheses)
        )

    def _decoded(self, tokens: tuple[int, ...]) -> str:
        text = self.language.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return self.language.template.title_of(text)

    def title_scores(self, prompts: Sequence[Prompt]) -> np.ndarray:
        """The log-probability of every title of the catalogue: float32 (prompts, titles).

        Columns stand in the order of `catalogue.titles`; a title too long for the model gets -inf.
        Raises ConfigError in another mode than "exact".
        """
        if self.trie is None or not isinstance(self.search, ExhaustiveSearch):
            raise ConfigError('the score of every title needs decoding mode "exact"')
        ended = self.trie.follow(self._titles(), end=self.end)
        columns = torch.full((self.trie.dead + 1,), -1, device=ended.device)
        columns[self.trie.leaves] = torch.arange(len(self.trie.leaves), device=ended.device)
        scores = self.search.score(self._encode([prompt.text for prompt in prompts]))
        known = columns[ended] >= 0
        aligned = torch.where(known, scores[:, columns[ended].clamp_min(0)], -torch.inf)
        found: np.ndarray = aligned.float().cpu().numpy()
        return found

    def _title_trie(self) -> TitleTrie:
        vocabulary = self.language.model.config.get_text_config().vocab_size
        titles = self._writable(self._titles())
        trie = TitleTrie.build(titles, end=self.end, vocabulary=vocabulary)
        return trie.to(self.language.model.device)

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

    def _writable(self, titles: Sequence[list[int]]) -> list[list[int]]:
        """Titles that take less than half of the context: a longer one, which no model of this
        context has learned, must not take the room that everybody's prompt needs."""
        writable = [title for title in titles if len(title) < self._context() // 2]
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
        most = int(self.language.model.config.get_text_config().max_position_embeddings)
        return min(most, self.language.context or most)
