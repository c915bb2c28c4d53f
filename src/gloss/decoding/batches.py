"""Beam search in batches, for every causal language model of transformers; see `beam_search`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gloss.decoding.beam_search import beam_search
from gloss.decoding.beams import BeamSettings
from gloss.decoding.memory import CPU_ENTRIES, MEMORY_SHARE, halved
from gloss.decoding.search import OnFinished, SearchResults, steps_of
from gloss.decoding.title_trie import TitleTrie
from gloss.errors import is_out_of_memory
from gloss.progress import Progress, silent

__all__ = ["BatchedSearch"]


class BatchedSearch:
    """Batches of prompts of similar length, each within a budget of cache entries.

    entries: users x (longest prompt + steps x beams) at most, but one user always; None: what fits
    into the memory. Running out of memory halves the budget, and the work goes on.
    """

    def __init__(
        self,
        model: Any,
        settings: BeamSettings,
        trie: TitleTrie | None,
        *,
        entries: int | None = None,
    ) -> None:
        self.model, self.settings, self.trie = model, settings, trie
        self.steps = steps_of(settings, trie)
        self.entries = entries or _entries_that_fit(model)

    def search(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        progress: Progress = silent,
        on_finished: OnFinished | None = None,
    ) -> SearchResults:
        """See `Search.search`."""
        results: SearchResults = [()] * len(prompts)
        waiting = sorted(range(len(prompts)), key=lambda user: (len(prompts[user]), user))
        while waiting:
            batch = self._next_batch(waiting, prompts)
            searched = self._try([prompts[user] for user in batch], _of_batch(on_finished, batch))
            if searched is None:
                continue  # with the smaller budget
            for user, hypotheses in zip(batch, searched, strict=True):
                results[user] = hypotheses
            waiting = waiting[len(batch) :]
            progress(len(prompts) - len(waiting), len(prompts))
        return results

    def within(self, trie: TitleTrie) -> BatchedSearch:
        """See `Search.within`."""
        return BatchedSearch(self.model, self.settings, trie, entries=self.entries)

    def _try(
        self, batch: Sequence[Sequence[int]], on_finished: OnFinished | None
    ) -> SearchResults | None:
        """A batch's results; None after running out of memory, with half the budget."""
        try:
            return beam_search(
                self.model, batch, self.settings, trie=self.trie, on_finished=on_finished
            )
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # A batch of one user cannot get smaller: that is an error.
        self.entries = halved(self.entries if len(batch) > 1 else 1)
        return None

    def _next_batch(
        self, waiting: Sequence[int], prompts: Sequence[Sequence[int]]
    ) -> Sequence[int]:
        """The next prompts by length that fit together; at least one."""
        size = 1
        while size < len(waiting):
            longest = len(prompts[waiting[size]])
            if (longest + self.steps * self.settings.beams) * (size + 1) > self.entries:
                break
            size += 1
        return waiting[:size]


def _of_batch(on_finished: OnFinished | None, batch: Sequence[int]) -> OnFinished | None:
    """The same, called with a prompt's number in its batch. batch: the numbers among all."""
    if on_finished is None:
        return None
    return lambda user, hypotheses: on_finished(batch[user], hypotheses)


def _entries_that_fit(model: Any) -> int:
    """Cache entries to hold at once; on a CUDA device those of half of what a cache may take.

    Half, because the cache of transformers is copied as it grows. Attention may repeat grouped
    heads, so that an entry counts as wide as the hidden state.
    """
    if model.device.type != "cuda":
        return CPU_ENTRIES
    config = model.config.get_text_config()
    entry_bytes = 2 * config.num_hidden_layers * config.hidden_size * model.dtype.itemsize
    free, _ = torch.cuda.mem_get_info()
    return max(1, int(free * MEMORY_SHARE / 2 / entry_bytes))
