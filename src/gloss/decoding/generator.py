"""The seam of decoding: what the stages and the recommender call on whatever writes titles.

A backend is one file that implements `Generator` and declares a `GeneratorSpec`; `decoding/open.py`
lists the specs. `gloss.testing.generators` holds the contract that every backend keeps. Imports no
torch, so that a backend without a local model needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from gloss.config import AS_IT_IS, Decoding, Loading
from gloss.data.catalogue import Catalogue
from gloss.data.generations import Generation
from gloss.progress import Progress, silent
from gloss.prompts import Prompt, PromptBuilder

__all__ = [
    "Footprint",
    "Generator",
    "GeneratorRequest",
    "GeneratorSpec",
    "OnTitle",
    "StreamingGenerator",
    "each_once",
    "stream",
]

OnTitle = Callable[[int, str], None]
"""Called with a prompt's number and a title for it, while others are still being written."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What generating costs.

    new_tokens: tokens that the model reads for one user after the prompt, at most.
    peak_megabytes: the most memory held so far by the device, or else the process, that runs the
    model; 0 where that is another machine's.
    """

    new_tokens: int
    peak_megabytes: int


class Generator(Protocol):
    """Writes titles for prompts."""

    def prompt_builder(self) -> PromptBuilder:
        """A builder of prompts in the model's template that leave room for its answer."""

    def generate(
        self, prompts: Sequence[Prompt], *, progress: Progress = silent
    ) -> list[Generation]:
        """One generation a prompt, in the prompts' order; queries from the likeliest down.

        progress: called with the number of prompts done and of all prompts.
        """

    def within(self, catalogue: Catalogue) -> Generator:
        """The same model, for which there are no titles but those of a catalogue: a part of its
        own, or with titles that came later, none of which needs more room.

        One that writes any text returns itself: what it writes is searched for in that catalogue.
        """

    def footprint(self) -> Footprint:
        """What generating costs, for an estimate."""


@runtime_checkable
class StreamingGenerator(Protocol):
    """A generator that can also tell of titles while it writes; see `stream` for others."""

    def stream(self, prompts: Sequence[Prompt], on_title: OnTitle) -> list[Generation]:
        """What `generate` returns; on_title hears of each title of a prompt once, as it is written.

        Every title of a generation was told before; a title that better ones pushed out may have
        been told, too.
        """


def stream(generator: Generator, prompts: Sequence[Prompt], on_title: OnTitle) -> list[Generation]:
    """See `StreamingGenerator.stream`; another generator's titles are told at the end."""
    if isinstance(generator, StreamingGenerator):
        return generator.stream(prompts, on_title)
    tell = each_once(on_title)
    generations = generator.generate(prompts)
    for number, generation in enumerate(generations):
        for query in generation.queries:
            tell(number, query.text)
    return generations


def each_once(on_title: OnTitle) -> OnTitle:
    """The same, without titles that a prompt has been told of before.

    >>> told = []
    >>> tell = each_once(lambda prompt, title: told.append((prompt, title)))
    >>> for title in ("Kite", "Ball", "Kite"):
    ...     tell(0, title)
    >>> told
    [(0, 'Kite'), (0, 'Ball')]
    """
    told: set[tuple[int, str]] = set()

    def tell(prompt: int, title: str) -> None:
        if (prompt, title) not in told:
            told.add((prompt, title))
            on_title(prompt, title)

    return tell


@dataclass(frozen=True, slots=True)
class GeneratorRequest:
    """What a generator is opened for.

    catalogue: needed by the decoding modes "catalogue" and "exact". device: where the model runs,
    None for the best there is.
    """

    model: Path
    settings: Decoding
    catalogue: Catalogue | None = None
    device: str | None = None
    loading: Loading = AS_IT_IS


@dataclass(frozen=True, slots=True)
class GeneratorSpec:
    """A backend: whether it serves a request, and how it opens a generator for it."""

    serves: Callable[[GeneratorRequest], bool]
    open: Callable[[GeneratorRequest], Generator]
