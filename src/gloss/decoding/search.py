"""The seam below a generator: a search continues prompts of token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gloss.decoding.beams import BeamSettings, Hypothesis
from gloss.decoding.title_trie import TitleTrie
from gloss.progress import Progress, silent

__all__ = ["Search", "SearchResults", "steps_of"]

SearchResults = list[tuple[Hypothesis, ...]]
"""For each prompt its best continuations, best first."""


class Search(Protocol):
    """Finds the best continuations of prompts under a model."""

    def search(
        self, prompts: Sequence[Sequence[int]], *, progress: Progress = silent
    ) -> SearchResults:
        """The best continuations of each prompt, in the prompts' order.

        progress: called with the number of prompts done and of all prompts.
        """

    def within(self, trie: TitleTrie) -> Search:
        """The same search by the same model, among other titles, none of which is longer."""


def steps_of(settings: BeamSettings, trie: TitleTrie | None) -> int:
    """The most tokens of a continuation, its end included: those of the longest title in a trie."""
    return trie.depth if trie else settings.max_new_tokens
