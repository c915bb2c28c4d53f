"""From a history to the text that a language model continues. Knows titles; knows no tokenizer.

A template is saved beside the model that was trained with it, so that a model never reads prompts
of another form than it has learned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import Example, UserId
from gloss.errors import ConfigError

__all__ = ["PAPER_TEMPLATE", "TITLES_ONLY", "Prompt", "PromptBuilder", "PromptTemplate"]

_SLOT, _WISH = "{title}", "{wish}"
_NO_ROOM = (
    "the model's context cannot hold the instruction, a title and the answer: take a model with a "
    "larger one"
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model reads for a user; `dropped` counts the purchases that it does not read: those
    whose title alone is too long, and the oldest that did not fit."""

    user: UserId
    history: tuple[ItemId, ...]
    text: str
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """header + one item text a purchase, earliest first + footer; the answer is one title.

    wish: stands before the footer where somebody says what is wanted; None for a model that reads
    purchases alone.

    >>> parts = ("Bought:\\n", "- {title}\\n", "Next:", "{title}", "For: {wish}\\n")
    >>> template = PromptTemplate(*parts)
    >>> template.render(["Kite"])
    'Bought:\\n- Kite\\nNext:'
    >>> template.render(["Kite"], wish="the beach")
    'Bought:\\n- Kite\\nFor: the beach\\nNext:'
    """

    header: str
    item: str
    footer: str
    answer: str
    wish: str | None = None

    def __post_init__(self) -> None:
        for name in ("item", "answer"):
            if getattr(self, name).count(_SLOT) != 1:
                raise ConfigError(f"the template's {name} must hold {_SLOT} once")
        if self.wish is not None and self.wish.count(_WISH) != 1:
            raise ConfigError(f"the template's wish must hold {_WISH} once")

    def render(self, titles: Sequence[str], *, wish: str | None = None) -> str:
        """The prompt for these titles, earliest first, and a wish, where the template has a place
        for one."""
        items = "".join(map(self.render_item, titles))
        return self.header + items + self.render_wish(wish) + self.footer

    def render_wish(self, wish: str | None) -> str:
        """The text of a wish; nothing without one, or without a place for it."""
        return self.wish.replace(_WISH, wish) if wish and self.wish else ""

    def render_item(self, title: str) -> str:
        """The text of one purchase."""
        return self.item.replace(_SLOT, title)

    def render_answer(self, title: str) -> str:
        """The text that the model should write, without its end-of-text token."""
        return self.answer.replace(_SLOT, title)

    def title_of(self, answer: str) -> str:
        """The title in what the model wrote: the answer's marker removed, white space trimmed."""
        before, _, after = self.answer.partition(_SLOT)
        return answer.strip().removeprefix(before.strip()).removesuffix(after.strip()).strip()

    def to_json(self) -> dict[str, Any]:
        """The template as plain values, for `prompt.json`."""
        return {name: part for name, part in asdict(self).items() if part is not None}


PAPER_TEMPLATE = PromptTemplate(
    header=(
        "Below is a customer's purchase history on Amazon, listed in chronological order "
        "(earliest to latest). \n"
        "Each item is represented by the following format: Title: <item title> \n"
        "Based on this history, predict **only one** item the customer is most likely to purchase "
        "next in the same format.\n\n"
        "### Purchase history:\n"
    ),
    item="Title: {title}\n",
    footer="\n### Next item:\n",
    answer="Title: {title}",
    wish="\n### What the customer is looking for:\n{wish}\n",
)
"""The published system's prompt (GLoSS research repository), the default for pretrained models. The
wish is ours: without one, which is how models are fine-tuned, the prompt is the published one."""

TITLES_ONLY = PromptTemplate(header="\n", item="{title}\n", footer="", answer="{title}")
"""One title a line, nothing else: for models from zero, whose end-of-text is the newline."""


class PromptBuilder:
    """Builds prompts of at most `max_tokens`: too long a history loses its oldest items, whole.

    Never half a title, never the instruction. count_tokens: the number of tokens of a text; a
    prompt is counted piece by piece. as_text: what a title becomes before it is put in, where some
    of its letters would mean something else to the model than they say. With one token a letter and
    room for twelve, the oldest title goes:

    >>> template = PromptTemplate(header="", item="{title};", footer="", answer="{title}")
    >>> builder = PromptBuilder(template, count_tokens=len, max_tokens=12)
    >>> prompt = builder.build("u", ["a", "b", "c"], ["Teapot", "Kite", "Ball"])
    >>> prompt.text, prompt.dropped
    ('Kite;Ball;', 1)
    """

    def __init__(
        self,
        template: PromptTemplate,
        *,
        count_tokens: Callable[[str], int],
        max_tokens: int,
        as_text: Callable[[str], str] = str,
    ) -> None:
        self.template = template
        self.count_tokens = count_tokens
        self._as_text = cache(as_text)
        frame = count_tokens(template.header) + count_tokens(template.footer)
        self._budget = max_tokens - frame
        self._length_of = cache(lambda title: count_tokens(template.render_item(title)))

    def build(
        self,
        user: UserId,
        history: Sequence[ItemId],
        titles: Sequence[str],
        *,
        wish: str | None = None,
    ) -> Prompt:
        """The prompt for a user; titles[i] is that of history[i], earliest first.

        A title that is too long alone is left out, wherever it stands: it takes nobody's place, and
        if there is no other, the prompt is the instruction. A wish that leaves no room for the
        instruction is left out, too. Raises ConfigError if the instruction is too long.
        """
        if self._budget < 0:
            raise ConfigError(_NO_ROOM)
        wish, budget = self._with_wish(wish)
        texts = map(self._as_text, titles)
        fitting = [text for text in texts if self._length_of(text) <= budget]
        kept = _latest_that_fit([self._length_of(title) for title in fitting], budget)
        text = self.template.render(fitting[len(fitting) - kept :], wish=wish)
        return Prompt(user, tuple(history), text, len(titles) - kept)

    def _with_wish(self, wish: str | None) -> tuple[str | None, int]:
        """The wish as the prompt has it, and the tokens that it leaves for purchases."""
        if not wish:
            return None, self._budget
        wish = self._as_text(wish)
        left = self._budget - self.count_tokens(self.template.render_wish(wish))
        return (wish, left) if left >= 0 else (None, self._budget)

    def build_all(self, examples: Sequence[Example], catalogue: Catalogue) -> list[Prompt]:
        """One prompt an example, in their order.

        Raises ConfigError also if no title of anybody fits.
        """
        prompts = [
            self.build(example.user, example.history, [*map(catalogue.title, example.history)])
            for example in examples
        ]
        with_history = [prompt for prompt in prompts if prompt.history]
        if with_history and all(prompt.dropped == len(prompt.history) for prompt in with_history):
            raise ConfigError(_NO_ROOM)
        return prompts


def _latest_that_fit(lengths: Sequence[int], budget: int) -> int:
    """How many of the last items fit into the budget together."""
    used = kept = 0
    for length in reversed(lengths):
        used += length
        if used > budget:
            break
        kept += 1
    return kept
