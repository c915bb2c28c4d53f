"""Histories as training examples of a pretrained model: the prompt's tokens, then the answer's.

Prompt and answer are split into tokens apart, as they are when the model decodes, and the answer
ends with the end-of-text token. An example longer than the sequence loses whole oldest purchases;
what was lost is counted, and nothing is ever cut by a library in silence.

Knows histories, titles and tokens; knows no weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from gloss.data.catalogue import Catalogue
from gloss.data.histories import Example, History
from gloss.errors import ConfigError, InputError
from gloss.prompts import Prompt, PromptBuilder, PromptTemplate

__all__ = ["EncodedExample", "Examples", "encode", "encode_prompts", "examples_of"]


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """tokens: prompt and answer, int32; answer: how many of them, at the end, are the answer's."""

    tokens: np.ndarray
    answer: int


@dataclass(frozen=True, slots=True)
class Examples:
    """Encoded examples, one a user; dropped: purchases that did not fit, of all users."""

    rows: tuple[EncodedExample, ...]
    dropped: int

    @property
    def tokens(self) -> int:
        """Tokens of all examples."""
        return sum(len(row.tokens) for row in self.rows)

    @property
    def answers(self) -> int:
        """Tokens of all answers."""
        return sum(row.answer for row in self.rows)


def examples_of(histories: Sequence[History]) -> list[Example]:
    """An example of each history: its last purchase is the target, all before are the history.

    Histories of a single purchase are left out.
    """
    return [Example(h.user, h.items[:-1], h.items[-1]) for h in histories if len(h.items) > 1]


def encode(
    examples: Sequence[Example],
    catalogue: Catalogue,
    tokenizer: Any,
    template: PromptTemplate,
    *,
    sequence: int,
) -> Examples:
    """Examples as tokens, each of `sequence` tokens at most, in their order.

    Raises ConfigError if the instruction, one title and the answer do not fit.
    """
    if not examples:
        return Examples((), 0)
    titles = [template.render_answer(catalogue.title(example.target)) for example in examples]
    answers = [[*ids, _end_of_text(tokenizer)] for ids in _plain_tokens(tokenizer, titles)]
    prompts = _prompts(examples, catalogue, tokenizer, template, answers, sequence)
    encoded = encode_prompts(tokenizer, template, [prompt.text for prompt in prompts])
    rows = tuple(
        EncodedExample(np.array([*prompt, *answer], np.int32), len(answer))
        for prompt, answer in zip(encoded, answers, strict=True)
    )
    longest = max(len(row.tokens) for row in rows)
    if longest > sequence:
        raise ConfigError(
            f"an example has {longest} tokens, more than training.sequence ({sequence}): this "
            "tokenizer splits a text otherwise than its lines; take a longer sequence"
        )
    return Examples(rows, sum(prompt.dropped for prompt in prompts))


def encode_prompts(
    tokenizer: Any, template: PromptTemplate, texts: Sequence[str], *, longest: int | None = None
) -> list[list[int]]:
    """Prompts as tokens, with what the tokenizer puts before a text.

    longest: cut on the left to as many tokens, as the published system does; None: not at all. A
    special token in somebody's title is plain text, but a template may be made of one.
    """
    if not texts:
        return []
    special = any(token in template.render(["x"]) for token in tokenizer.all_special_tokens)
    tokenizer.truncation_side = "left"
    encoded: list[list[int]] = tokenizer(
        list(texts),
        split_special_tokens=not special,
        truncation=longest is not None,
        max_length=longest,
    )["input_ids"]
    return encoded


def _prompts(
    examples: Sequence[Example],
    catalogue: Catalogue,
    tokenizer: Any,
    template: PromptTemplate,
    answers: Sequence[Sequence[int]],
    sequence: int,
) -> list[Prompt]:
    """One prompt an example, with as many of its latest purchases as its answer leaves room for."""
    prefix = len(tokenizer("")["input_ids"])  # what it puts before a text

    @cache
    def count(text: str) -> int:
        return len(_plain_tokens(tokenizer, [text])[0])

    @cache
    def builder(room: int) -> PromptBuilder:
        return PromptBuilder(template, count_tokens=count, max_tokens=room)

    return [
        builder(sequence - prefix - len(answer)).build(
            example.user, example.history, [*map(catalogue.title, example.history)]
        )
        for example, answer in zip(examples, answers, strict=True)
    ]


def _plain_tokens(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Texts as tokens, nothing put before them, special tokens in them read as text."""
    encoded: list[list[int]] = tokenizer(
        list(texts), add_special_tokens=False, split_special_tokens=True
    )["input_ids"]
    return encoded


def _end_of_text(tokenizer: Any) -> int:
    if tokenizer.eos_token_id is None:
        raise InputError("the base model's tokenizer has no end-of-text token")
    return int(tokenizer.eos_token_id)
