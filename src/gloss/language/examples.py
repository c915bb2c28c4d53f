"""Histories as training examples of a pretrained model: the prompt's tokens, then the answer's.

Prompt and answer are split into tokens apart, as they are when the model decodes, and the answer
ends with the end-of-text token. An example longer than the sequence loses whole oldest purchases;
what was lost is counted, and nothing is ever cut by a library in silence.

Knows histories, titles and tokens; knows no weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from gloss.data.catalogue import Catalogue
from gloss.data.histories import Example, History, UserId
from gloss.errors import ConfigError, InputError
from gloss.prompts import Prompt, PromptBuilder, PromptTemplate

__all__ = [
    "EncodedExample",
    "Examples",
    "encode",
    "encode_prompts",
    "examples_of",
    "title_as_text",
]


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """tokens: prompt and answer, int32; answer: how many of them, at the end, are the answer's."""

    tokens: np.ndarray
    answer: int


@dataclass(frozen=True, slots=True)
class Examples:
    """Encoded examples, one a user; dropped: purchases that did not fit, of all users; left_out:
    users whose answer did not fit, or none of whose purchases did."""

    rows: tuple[EncodedExample, ...]
    dropped: int
    left_out: tuple[UserId, ...] = ()

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

    One whose answer does not fit, or no title of whose history, is left out. Raises ConfigError if
    that is everybody's.
    """
    if not examples:
        return Examples((), 0)
    titles = [template.render_answer(catalogue.title(example.target)) for example in examples]
    answers = [[*ids, _end_of_text(tokenizer)] for ids in _plain_tokens(tokenizer, titles)]
    prompts = _prompts(examples, catalogue, tokenizer, template, answers, sequence)
    fitting = [
        (prompt, answer)
        for prompt, answer in zip(prompts, answers, strict=True)
        if prompt is not None
    ]
    if not fitting:
        raise ConfigError(
            f"training.sequence ({sequence} tokens) cannot hold the instruction, a title and an "
            "answer of anybody: take a longer one"
        )
    encoded = encode_prompts(tokenizer, template, [prompt.text for prompt, _ in fitting])
    rows = tuple(
        EncodedExample(np.array([*prompt, *answer], np.int32), len(answer))
        for prompt, (_, answer) in zip(encoded, fitting, strict=True)
    )
    longest = max(len(row.tokens) for row in rows)
    if longest > sequence:
        raise ConfigError(
            f"an example has {longest} tokens, more than training.sequence ({sequence}): this "
            "tokenizer splits a text otherwise than its lines; take a longer sequence"
        )
    left_out = tuple(e.user for e, p in zip(examples, prompts, strict=True) if p is None)
    return Examples(rows, sum(prompt.dropped for prompt, _ in fitting), left_out)


def encode_prompts(
    tokenizer: Any, template: PromptTemplate, texts: Sequence[str], *, longest: int | None = None
) -> list[list[int]]:
    """Prompts as tokens, with what the tokenizer puts before a text.

    longest: cut on the left to as many tokens, as the published system does; None: not at all.
    Special tokens are read as such only where the template itself holds one; the titles in these
    texts then must have gone through `title_as_text`.
    """
    if not texts:
        return []
    tokenizer.truncation_side = "left"
    encoded: list[list[int]] = tokenizer(
        list(texts),
        split_special_tokens=not _holds_special_tokens(template, tokenizer),
        truncation=longest is not None,
        max_length=longest,
    )["input_ids"]
    return encoded


def title_as_text(tokenizer: Any, template: PromptTemplate) -> Callable[[str], str]:
    """What makes a title plain text in a prompt, whatever its letters mean to the tokenizer.

    A template without special tokens needs nothing: none is looked for. In a prompt of one that
    holds some, those in a title would be found, too. They are broken up by a space after their
    first letter, `<|im_end|>` becomes `< |im_end|>`; one of a single letter becomes a space.
    """
    if not _holds_special_tokens(template, tokenizer):
        return str
    longest_first = sorted(_special_tokens(tokenizer), key=len, reverse=True)
    special = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)

    def broken(match: re.Match[str]) -> str:
        return f"{match[0][0]} {match[0][1:]}" if len(match[0]) > 1 else " "

    return lambda title: special.sub(broken, title)


def _holds_special_tokens(template: PromptTemplate, tokenizer: Any) -> bool:
    frame = template.render(["x"])
    return any(token in frame for token in _special_tokens(tokenizer))


def _special_tokens(tokenizer: Any) -> set[str]:
    """All that it reads as one token of its own: those with a role (end of text, padding) and those
    without one, as the marks of turns in a conversation are."""
    added = tokenizer.added_tokens_decoder.values()
    marks = (each.content for each in added if each.special)
    return {token for token in (*tokenizer.all_special_tokens, *marks) if token}


def _prompts(
    examples: Sequence[Example],
    catalogue: Catalogue,
    tokenizer: Any,
    template: PromptTemplate,
    answers: Sequence[Sequence[int]],
    sequence: int,
) -> list[Prompt | None]:
    """One prompt an example, with as many of its latest purchases as its answer leaves room for;
    None where that is none."""
    prefix = len(tokenizer("")["input_ids"])  # what it puts before a text

    @cache
    def count(text: str) -> int:
        return len(_plain_tokens(tokenizer, [text])[0])

    @cache
    def builder(room: int) -> PromptBuilder:
        return PromptBuilder(template, count_tokens=count, max_tokens=room, as_text=as_text)

    as_text = title_as_text(tokenizer, template)
    frame = count(template.header) + count(template.footer)

    def prompt(example: Example, room: int) -> Prompt | None:
        if room < frame:
            return None
        titles = [catalogue.title(item) for item in example.history]
        built = builder(room).build(example.user, example.history, titles)
        return built if built.dropped < len(titles) or not titles else None

    return [
        prompt(example, sequence - prefix - len(answer))
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
        raise InputError(
            "the base model's tokenizer has no end-of-text token: set eos_token in its "
            "tokenizer_config.json"
        )
    return int(tokenizer.eos_token_id)
