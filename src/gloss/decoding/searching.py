"""Which beam search a model gets, and how much it may hold at once.

Llama-like models take a fast path, one for CUDA devices and one for CPUs; everything else takes
`beam_search` in batches. Either way running out of memory halves what is held at once, and the work
goes on.

Knows token ids only.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from gloss.decoding.beam_search import beam_search
from gloss.decoding.beams import BeamSettings, Hypothesis
from gloss.decoding.title_trie import TitleTrie
from gloss.errors import GlossError

__all__ = ["BatchedSearch", "CpuSlottedSearch", "Search", "SlottedSearch", "choose_search"]

Told = Callable[[int], None]
Found = list[tuple[Hypothesis, ...]]

CPU_ENTRIES = 65_536
"""Cache entries held at once where nothing else is said: about 2 GB at eight layers of 512."""
_CPU_SLOTS = 32
"""More beams at once than this many users have make no product faster, only caches colder."""
_MEMORY_SHARE = 0.7
_MOST_SLOTS = 512
_ROOM = 128
"""Slots are made for prompts of up to a multiple of this, so that few are too short."""


class Search(Protocol):
    """Continues prompts."""

    def search(self, prompts: Sequence[Sequence[int]], *, told: Told) -> Found:
        """The best continuations of each prompt, best first; `told` hears how many are done."""


def choose_search(
    model: Any,
    settings: BeamSettings,
    trie: TitleTrie | None,
    *,
    entries: int | None,
    share: float = 1.0,
) -> Search:
    """The fastest search that can run this model here.

    entries: cache entries to hold at once, users x (prompt + steps x beams); None: what fits.
    share: of a device's free memory, less than 1 for one of several that keep theirs.
    """
    kind = model.device.type
    reason = _why_not(model)
    if reason is None and kind == "cpu":
        return CpuSlottedSearch(model, settings, trie, entries=entries or CPU_ENTRIES)
    if reason is None:
        return SlottedSearch(model, settings, trie, entries=entries, share=share)
    warnings.warn(f"decoding takes the slower path: {reason}", RuntimeWarning, stacklevel=2)
    entries = entries or (_fitting(model) if kind == "cuda" else CPU_ENTRIES)
    return BatchedSearch(model, settings, trie, entries=entries)


def _why_not(model: Any) -> str | None:
    """Why no fast path can run this model where it is; None if one can."""
    if model.device.type == "cuda":
        from gloss.decoding.cuda.llama import why_not
    else:
        from gloss.decoding.cpu.llama import why_not
    return why_not(model)


class BatchedSearch:
    """Batches of prompts of similar length, each within a budget of cache entries."""

    def __init__(
        self, model: Any, settings: BeamSettings, trie: TitleTrie | None, *, entries: int
    ) -> None:
        self.model, self.settings, self.trie = model, settings, trie
        self.steps = trie.depth if trie else settings.max_new_tokens
        self.entries = entries

    def search(self, prompts: Sequence[Sequence[int]], *, told: Told) -> Found:
        """See `Search.search`."""
        found: Found = [()] * len(prompts)
        waiting = sorted(range(len(prompts)), key=lambda row: (len(prompts[row]), row))
        while waiting:
            batch = self._next_batch(waiting, prompts)
            try:
                results = beam_search(
                    self.model, [prompts[row] for row in batch], self.settings, trie=self.trie
                )
            except RuntimeError as error:
                if not _ran_out(error):
                    raise
                self.entries = _half_of(self.entries, at_least=1 if len(batch) > 1 else None)
                continue
            for row, hypotheses in zip(batch, results, strict=True):
                found[row] = hypotheses
            waiting = waiting[len(batch) :]
            told(len(prompts) - len(waiting))
        return found

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


class CpuSlottedSearch:
    """The fast path on a CPU: slots for some users, each refilled when its user is done."""

    def __init__(
        self, model: Any, settings: BeamSettings, trie: TitleTrie | None, *, entries: int
    ) -> None:
        from gloss.decoding.cpu.llama import CpuLlama

        self.settings, self.trie, self.entries = settings, trie, entries
        self.steps = trie.depth if trie else settings.max_new_tokens
        context = int(model.config.max_position_embeddings)
        self.model = CpuLlama(model, positions=context + self.steps)
        self.most_slots = _CPU_SLOTS

    def search(self, prompts: Sequence[Sequence[int]], *, told: Told) -> Found:
        """See `Search.search`."""
        while prompts:
            longest = max(map(len, prompts))
            each = longest + self.steps * self.settings.beams
            slots = max(1, min(self.most_slots, len(prompts), self.entries // each))
            try:
                return self._search(prompts, slots=slots, longest=longest, told=told)
            except RuntimeError as error:
                if not _ran_out(error):
                    raise
                self.entries = _half_of(slots, at_least=1) * each
        return []

    def _search(
        self, prompts: Sequence[Sequence[int]], *, slots: int, longest: int, told: Told
    ) -> Found:
        from gloss.decoding.cpu.search import CpuSearch

        engine = CpuSearch(self.model, self.settings, self.trie, slots=slots, longest=longest)
        return engine.search(prompts, told=told)


class SlottedSearch:
    """The fast path: as many slots as memory allows, kept from call to call."""

    def __init__(
        self,
        model: Any,
        settings: BeamSettings,
        trie: TitleTrie | None,
        *,
        entries: int | None,
        share: float = 1.0,
    ) -> None:
        from gloss.decoding.cuda.llama import FastLlama

        self.settings, self.trie, self.entries, self.share = settings, trie, entries, share
        self.steps = trie.depth if trie else settings.max_new_tokens
        context = int(model.config.max_position_embeddings)
        self.model = FastLlama(model, positions=context + self.steps)
        self.most_slots = _MOST_SLOTS
        self._longest = 0
        self._engine: Any = None

    def search(self, prompts: Sequence[Sequence[int]], *, told: Told) -> Found:
        """See `Search.search`."""
        while prompts:
            try:
                found: Found = self._ready_for(prompts).search(prompts, told=told)
                return found
            except torch.cuda.OutOfMemoryError:
                self.most_slots = _half_of(min(self.most_slots, self._slots()), at_least=1)
                self._engine = None
                torch.cuda.empty_cache()
        return []

    def _ready_for(self, prompts: Sequence[Sequence[int]]) -> Any:
        from gloss.decoding.cuda.search import FastSearch

        longest = max(map(len, prompts))
        if self._engine is None or longest > self._longest:
            self._engine = None
            torch.cuda.empty_cache()
            self._longest = -(-longest // _ROOM) * _ROOM
            self._engine = FastSearch(
                self.model, self.settings, self.trie, slots=self._slots(), longest=self._longest
            )
        return self._engine

    def _slots(self) -> int:
        each = self._longest + self.steps * self.settings.beams
        entries = self.entries
        if entries is None:
            free, _ = torch.cuda.mem_get_info()
            entries = int(free * _MEMORY_SHARE * self.share) // self.model.entry_bytes()
        return max(1, min(self.most_slots, entries // each))


def _ran_out(error: RuntimeError) -> bool:
    """Whether a device or, on a CPU, the system had no more memory to give."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _half_of(budget: int, *, at_least: int | None) -> int:
    if at_least is None or budget // 2 < at_least:
        raise GlossError(
            "the memory does not hold a single user: use fewer beams, shorter prompts or a "
            "smaller model"
        ) from None
    return budget // 2


def _fitting(model: Any) -> int:
    """Cache entries that fit into half of the free memory, grouped heads counted as repeated."""
    config = model.config.get_text_config()
    entry = 2 * config.num_hidden_layers * config.hidden_size * model.dtype.itemsize
    free, _ = torch.cuda.mem_get_info()
    return max(1, int(free * _MEMORY_SHARE / 2 / entry))
