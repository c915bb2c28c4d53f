"""Beam search in slots that refill: what the fast paths of CPUs and CUDA devices share.

A slot holds one user: a row of the cache, running and finished beams, and a step of its own. All
slots take a step together; users who are done leave, and waiting ones take their slots, so that no
step is spent on a user for whom nothing is left to find (the continuous batching of Orca, Yu et
al. 2022). Results are those of `beam_search`, up to the rounding of products of other sizes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import Any, ClassVar, Generic, TypeVar

import torch

from gloss.decoding.beams import (
    BeamSettings,
    BeamState,
    Candidates,
    Hypothesis,
    advance,
    best_candidates,
)
from gloss.decoding.llama import SlotLlama
from gloss.decoding.memory import halved
from gloss.decoding.prefill import common_prefix, prefill_groups
from gloss.decoding.search import OnFinished, SearchResults, steps_of
from gloss.decoding.title_trie import TitleTrie
from gloss.decoding.transfer import sent
from gloss.errors import is_out_of_memory
from gloss.progress import Progress, silent

__all__ = ["SlotSearch", "Slots", "positions_of", "round_up"]

Llama = TypeVar("Llama", bound=SlotLlama)


class Slots(ABC, Generic[Llama]):
    """A fixed number of slots of a fixed capacity, and the search of any number of prompts."""

    most_prefill_tokens: ClassVar[int]
    """Prompt tokens that are read at once."""
    capacity_multiple: ClassVar[int] = 1

    def __init__(
        self,
        model: Llama,
        settings: BeamSettings,
        trie: TitleTrie | None,
        *,
        slots: int,
        longest: int,
    ) -> None:
        """longest: tokens of the longest prompt that may come."""
        self.model, self.settings, self.trie = model, settings, trie
        self.steps = steps_of(settings, trie)
        self.slots = slots
        self.capacity = round_up(longest + self.steps * settings.beams, self.capacity_multiple)
        self.cache = model.new_cache(slots, self.capacity)

    @torch.inference_mode()
    def search(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        progress: Progress = silent,
        on_finished: OnFinished | None = None,
    ) -> SearchResults:
        """See `Search.search`."""
        results: SearchResults = [()] * len(prompts)
        # The longest first: those that come last, when slots stand empty, are then soon read.
        waiting = sorted(range(len(prompts)), key=lambda user: (-len(prompts[user]), user))
        prefix = common_prefix(prompts)
        if prefix:
            self.model.read_prefix(prompts[0][:prefix], self.cache)
        users: dict[int, int] = {}  # slot -> the user who holds it
        while waiting or users:
            waiting = self._refill(users, waiting, prompts, prefix=prefix)
            looks = on_finished is not None
            ended = self._run(list(users), some_wait=bool(waiting), looks=looks)
            if on_finished is not None:
                going_on = [slot for slot in users if slot not in ended]
                for slot, hypotheses in (self._finished(going_on) | ended).items():
                    on_finished(users[slot], hypotheses)
            for slot, hypotheses in ended.items():
                results[users.pop(slot)] = hypotheses
            progress(len(prompts) - len(waiting) - len(users), len(prompts))
        return results

    def _refill(
        self,
        users: dict[int, int],
        waiting: list[int],
        prompts: Sequence[Sequence[int]],
        *,
        prefix: int,
    ) -> list[int]:
        """Give free slots to waiting users; adds them to `users`, returns who still waits."""
        free = [slot for slot in range(self.slots) if slot not in users]
        coming, waiting = waiting[: len(free)], waiting[len(free) :]
        lengths = [len(prompts[user]) - prefix for user in coming]
        for group in prefill_groups(coming, lengths, most_tokens=self.most_prefill_tokens):
            slots, free = free[: len(group)], free[len(group) :]
            self._admit([prompts[user] for user in group], slots, prefix=prefix)
            users.update(zip(slots, group, strict=True))
        return waiting

    def _admit(
        self, prompts: Sequence[Sequence[int]], slots: Sequence[int], *, prefix: int
    ) -> None:
        """Read new users' prompts into free slots and take their first token."""
        device = self.model.device
        tails = [prompt[prefix:] for prompt in prompts]
        logits = self.model.read_prompts(tails, self.cache, slots, prefix=prefix)
        state = BeamState.begin(len(slots), self.settings, steps=self.steps, device=device)
        state, parents = self._advance(state, logits, rows=1)
        lengths = sent(torch.tensor([len(prompt) for prompt in prompts]), device)  # (users,)
        self._put(slots, state, parents, lengths)

    def _advance(
        self, state: BeamState, logits: torch.Tensor, *, rows: int
    ) -> tuple[BeamState, torch.Tensor]:
        """Take one more token by logits (users * rows, vocabulary); see `beams.advance`."""
        candidates = self._candidates(state, logits, rows=rows)
        return advance(state, candidates, self.settings, cut_off=self.trie is None)

    def _candidates(self, state: BeamState, logits: torch.Tensor, *, rows: int) -> Candidates:
        """The best continuations by logits (users * rows, vocabulary).

        rows: of each user: its beams, or 1 after the prompt. Only the few best logits are turned
        into log-probabilities: `log p(token) = logit - logsumexp(logits)`.
        """
        wanted = min(2 * self.settings.beams, logits.shape[1])
        if self.trie is None:
            log_sums, best, tokens = self._row_topk(logits, wanted)
            nodes = torch.zeros_like(tokens)
        else:
            log_sums, _, _ = self._row_topk(logits, 0)
            from_nodes = state.nodes[:, :rows].flatten()  # (users * rows,)
            best, edges = self._trie_topk(logits, from_nodes, self.trie, wanted)
            tokens = self.trie.tokens[edges]
            nodes = torch.where(best > -torch.inf, edges + 1, self.trie.dead)
        shape = (len(logits) // rows, rows, -1)
        log_probs = best - log_sums[:, None]
        return best_candidates(
            state, self.settings, log_probs.view(shape), tokens.view(shape), nodes.view(shape)
        )

    @abstractmethod
    def _run(
        self, held: Sequence[int], *, some_wait: bool, looks: bool
    ) -> dict[int, tuple[Hypothesis, ...]]:
        """Take steps until some of the held slots are done; what was found in these, by slot.

        some_wait: whether users wait for a slot, so that it pays to free several at once. looks:
        whether somebody looks at what has finished meanwhile, so that it returns after few steps
        even where nobody is done.
        """

    @abstractmethod
    def _finished(self, held: Sequence[int]) -> dict[int, tuple[Hypothesis, ...]]:
        """The beams that have finished so far in each of these slots, which are not done yet."""

    @abstractmethod
    def _put(
        self,
        slots: Sequence[int],
        state: BeamState,
        parents: torch.Tensor,
        lengths: torch.Tensor,
    ) -> None:
        """Let admitted users take part in the next step.

        parents: (users, beams), of the running beams; lengths: (users,) tokens of the prompts.
        """

    @staticmethod
    @abstractmethod
    def _row_topk(
        logits: torch.Tensor, count: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of each row of logits (rows, vocabulary): log-sum-exp (rows,), and the `count` largest.

        These are logits and their columns, (rows, count), largest first; empty with count 0.
        """

    @staticmethod
    @abstractmethod
    def _trie_topk(
        logits: torch.Tensor, nodes: torch.Tensor, trie: TitleTrie, count: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The largest logits among those that may follow each row's node, (rows,), of a trie.

        Returns logits and their edges in the trie, (rows, n), n at most `count`, largest first;
        logits are -inf, and edges any, where fewer may follow.
        """


class SlotSearch(ABC, Generic[Llama]):
    """A search in as many slots as memory allows. Running out of memory halves their number."""

    def __init__(
        self,
        model: Llama,
        settings: BeamSettings,
        trie: TitleTrie | None,
        *,
        most_slots: int,
    ) -> None:
        self.model, self.settings, self.trie = model, settings, trie
        self.most_slots = most_slots
        self._tried = 0  # slots of the last try

    def search(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        progress: Progress = silent,
        on_finished: OnFinished | None = None,
    ) -> SearchResults:
        """See `Search.search`."""
        while prompts:
            try:
                slots = self._slots_for(prompts)
                return slots.search(prompts, progress=progress, on_finished=on_finished)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            # After the handler: within it, the traceback would still hold the slots' memory.
            self._release()
            self.most_slots = halved(self._tried)
        return []

    def within(self, trie: TitleTrie) -> SlotSearch[Llama]:
        """See `Search.within`; the model is shared."""
        other = copy(self)
        other.trie = trie
        other._forget()
        return other

    def _fitting(self, entries: int, *, longest: int) -> int:
        """How many slots for prompts of at most `longest` tokens fit into so many cache entries."""
        entries_a_slot = longest + steps_of(self.settings, self.trie) * self.settings.beams
        return max(1, min(self.most_slots, entries // entries_a_slot))

    @abstractmethod
    def _slots_for(self, prompts: Sequence[Sequence[int]]) -> Slots[Llama]:
        """Slots that can hold each of these prompts; notes their number in `_tried`."""

    def _release(self) -> None:
        """Give back what is kept from call to call."""

    def _forget(self) -> None:
        """Let another one keep it."""


def positions_of(model: Any, settings: BeamSettings, trie: TitleTrie | None) -> int:
    """Positions that a search may need: the model's own, and all tokens of an answer."""
    return int(model.config.max_position_embeddings) + steps_of(settings, trie)


def round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
