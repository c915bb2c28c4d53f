"""Beam search on a CPU: a step works on the users at hand only.

There is no graph to record, so that whoever is done leaves at once, empty slots cost nothing, and a
user's attention reads the entries that the user really holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gloss.decoding.beams import BeamSettings, BeamState, Hypothesis
from gloss.decoding.cpu.llama import CpuLlama
from gloss.decoding.cpu.topk import row_topk, trie_topk
from gloss.decoding.memory import CPU_ENTRIES
from gloss.decoding.slots import Slots, SlotSearch, positions_of
from gloss.decoding.title_trie import TitleTrie

__all__ = ["CpuSearch", "CpuSlots"]

_MOST_SLOTS = 32
"""The beams of more users make no matrix product faster, only caches colder."""


class CpuSearch(SlotSearch[CpuLlama]):
    """The fast path on a CPU; the cache is given back after each call."""

    def __init__(
        self,
        model: Any,
        settings: BeamSettings,
        trie: TitleTrie | None,
        *,
        entries: int | None = None,
    ) -> None:
        """entries: cache entries to hold at once; None: `CPU_ENTRIES`."""
        llama = CpuLlama(model, positions=positions_of(model, settings, trie))
        super().__init__(llama, settings, trie, most_slots=_MOST_SLOTS)
        self.entries = entries or CPU_ENTRIES

    def _slots_for(self, prompts: Sequence[Sequence[int]]) -> CpuSlots:
        longest = max(map(len, prompts))
        self._tried = min(len(prompts), self._fitting(self.entries, longest=longest))
        return CpuSlots(self.model, self.settings, self.trie, slots=self._tried, longest=longest)


@dataclass(frozen=True, slots=True)
class _Running:
    """The users at hand: their slots, and where each stands.

    parents: (users, beams), of the running beams; lengths: (users,) tokens of the prompts; mask:
    (users, beams, capacity), 0 for what each beam's parent attended to, -inf elsewhere.
    """

    slots: list[int]
    state: BeamState
    parents: torch.Tensor
    lengths: torch.Tensor
    mask: torch.Tensor

    def select(self, users: torch.Tensor) -> _Running:
        """These users only."""
        return _Running(
            [self.slots[user] for user in users.tolist()],
            self.state.select(users),
            self.parents[users],
            self.lengths[users],
            self.mask[users],
        )

    def joined(self, other: _Running) -> _Running:
        """These users, then others."""
        return _Running(
            self.slots + other.slots,
            self.state.joined(other.state),
            torch.cat([self.parents, other.parents]),
            torch.cat([self.lengths, other.lengths]),
            torch.cat([self.mask, other.mask]),
        )


class CpuSlots(Slots[CpuLlama]):
    """See `Slots`."""

    most_prefill_tokens = 2048

    _row_topk = staticmethod(row_topk)
    _trie_topk = staticmethod(trie_topk)

    def __init__(
        self,
        model: CpuLlama,
        settings: BeamSettings,
        trie: TitleTrie | None,
        *,
        slots: int,
        longest: int,
    ) -> None:
        super().__init__(model, settings, trie, slots=slots, longest=longest)
        self._running: _Running | None = None  # None: nobody

    def _put(
        self,
        slots: Sequence[int],
        state: BeamState,
        parents: torch.Tensor,
        lengths: torch.Tensor,
    ) -> None:
        in_prompt = torch.arange(self.capacity) < lengths[:, None, None]  # (users, 1, capacity)
        mask = torch.where(in_prompt, 0.0, -torch.inf).expand(-1, self.settings.beams, -1)
        admitted = _Running(list(slots), state, parents, lengths, mask)
        self._running = self._running.joined(admitted) if self._running else admitted

    def _run(
        self, held: Sequence[int], *, some_wait: bool, looks: bool
    ) -> dict[int, tuple[Hypothesis, ...]]:
        running = self._running
        assert running is not None, "somebody holds a slot"
        while running.state.improvable.all():
            running = self._step(running)
            if looks:
                break
        improvable = running.state.improvable
        ended = running.select((~improvable).nonzero().flatten())
        going_on = improvable.nonzero().flatten()
        self._running = running.select(going_on) if len(going_on) else None
        return dict(zip(ended.slots, ended.state.hypotheses(self.settings), strict=True))

    def _finished(self, held: Sequence[int]) -> dict[int, tuple[Hypothesis, ...]]:
        running = self._running
        if running is None:
            return {}
        return dict(zip(running.slots, running.state.hypotheses(self.settings), strict=True))

    def _step(self, running: _Running) -> _Running:
        """One more token for everybody."""
        state, beams, taken = running.state, self.settings.beams, running.state.taken
        mask = self._extended_mask(running)
        last = (taken - 1)[:, None, None].expand(-1, beams, 1)
        tokens = state.running.gather(2, last)[:, :, 0]  # (users, beams)
        logits = self.model.read_tokens(
            tokens, self.cache, running.slots, running.lengths, taken, mask
        )
        state, parents = self._advance(state, logits, rows=beams)
        return _Running(running.slots, state, parents, running.lengths, mask)

    def _extended_mask(self, running: _Running) -> torch.Tensor:
        """What each beam attends to: all that its parent does, and its own new entry.

        For a prompt of 2 tokens and 3 beams whose parents are 0, 0 and 2, at the second step:

            entry     0 1   2 3 4   5 6 7       (- for -inf)
            beam 0    0 0   0 - -   0 - -
            beam 1    0 0   0 - -   - 0 -
            beam 2    0 0   - - 0   - - 0
        """
        beams, taken = self.settings.beams, running.state.taken
        mask = running.mask.gather(1, running.parents[:, :, None].expand_as(running.mask))
        first = running.lengths + (taken - 1) * beams  # (users,) entry of the first beam's token
        own = first[:, None, None] + torch.arange(beams)[:, None]  # (users, beams, 1)
        return mask.scatter_(2, own, 0.0)
