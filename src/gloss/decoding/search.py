"""The seam below a generator: a search continues prompts of token ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gloss.decoding.beams import BeamSettings, Hypothesis
from gloss.decoding.title_trie import TitleTrie
from gloss.progress import Progress, silent

__all__ = ["OnFinished", "Search", "SearchResults", "steps_of"]

SearchResults = list[tuple[Hypothesis, ...]]
"""For each prompt its best continuations, best first."""

OnFinished = Callable[[int, tuple[Hypothesis, ...]], None]
"""Called while a search goes on, with a prompt's number and the beams of it that have finished so
far, best first. Later ones may push them out of the results."""


class Search(Protocol):
    """Finds the best continuations of prompts under a model."""

    def search(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        progress: Progress = silent,
        on_finished: OnFinished | None = None,
    ) -> SearchResults:
        """The best continuations of each prompt, in the prompts' order.

        progress: called with the number of prompts done and of all prompts. on_finished: see
        `OnFinished`; a search that takes no steps calls it never.
        """

    def within(self, trie: TitleTrie) -> Search:
        """The same search by the same model, among other titles, none of which is longer."""


def steps_of(settings: BeamSettings, trie: TitleTrie | None) -> int:
    """The most tokens of a continuation, its end included: those of the longest title in a trie."""
    return trie.depth if trie else settings.max_new_tokens
