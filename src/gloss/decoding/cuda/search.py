"""Beam search on a CUDA device: slots that refill, one captured graph a step.

Each slot holds one user: a stretch of the cache, its running and finished beams, its own step. A
step of all slots (model, choice of continuations, bookkeeping) is one CUDA graph. Users who are
done leave, waiting ones take their slots; the host only looks now and then who is done.

The results are those of `beam_search`, up to the rounding of other kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from gloss.decoding.beams import (
    BeamSettings,
    BeamState,
    Candidates,
    Hypothesis,
    advance,
    best_candidates,
)
from gloss.decoding.cuda.kernels import row_maxima, trie_maxima
from gloss.decoding.cuda.llama import FastLlama
from gloss.decoding.llama_weights import Cache, common_prefix, groups
from gloss.decoding.title_trie import TitleTrie

__all__ = ["FastSearch"]

_LOOK_EVERY = 4
"""Steps between two looks at who is done: a look waits for the device."""
_PREFILL_TOKENS = 32768

Told = Callable[[int], None]
"""Called with how many users are done."""


class FastSearch:
    """Searches many prompts with a fixed number of slots."""

    @torch.inference_mode()
    def __init__(
        self,
        model: FastLlama,
        settings: BeamSettings,
        trie: TitleTrie | None,
        *,
        slots: int,
        longest: int,
    ) -> None:
        """longest: tokens of the longest prompt that may come."""
        self.model, self.settings, self.trie = model, settings, trie
        self.steps = trie.depth if trie else settings.max_new_tokens
        self.slots = slots
        beams, device = settings.beams, model.device
        capacity = -(-(longest + self.steps * beams) // 64) * 64
        self.cache: Cache = model.new_cache(slots, capacity)
        for side in self.cache.keys + self.cache.values:
            side.zero_()  # slots that hold nobody are read too
        self.state = BeamState.begin(slots, settings, steps=self.steps, device=device)
        self.state.improvable.zero_()
        self.state.taken.fill_(1)
        self.parents = torch.zeros(slots, beams, dtype=torch.long, device=device)
        self.ancestors = torch.zeros(slots, beams, self.steps, dtype=torch.int32, device=device)
        self.lengths = torch.ones(slots, dtype=torch.long, device=device)
        self.own = torch.arange(beams, device=device, dtype=torch.int32).expand(slots, -1)
        self._graph = self._capture()

    @torch.inference_mode()
    def search(
        self, prompts: Sequence[Sequence[int]], *, told: Told = lambda done: None
    ) -> list[tuple[Hypothesis, ...]]:
        """The best continuations of each prompt, best first; see `beam_search`."""
        found: list[tuple[Hypothesis, ...]] = [()] * len(prompts)
        waiting = sorted(range(len(prompts)), key=lambda user: (-len(prompts[user]), user))
        prefix = common_prefix(prompts)
        if prefix:
            self.model.read_prefix(prompts[0][:prefix], self.cache)
        holders: dict[int, int] = {}
        done = 0
        while waiting or holders:
            free = [slot for slot in range(self.slots) if slot not in holders]
            coming, waiting = waiting[: len(free)], waiting[len(free) :]
            for group in groups(coming, prompts, prefix, tokens=_PREFILL_TOKENS):
                slots, free = free[: len(group)], free[len(group) :]
                self._admit([prompts[user] for user in group], slots, prefix=prefix)
                holders |= zip(slots, group, strict=True)
            ready = self._work(list(holders), enough=self.slots // 4 if waiting else 1)
            ended = self.state.select(torch.tensor(ready, device=self.model.device))
            for slot, hypotheses in zip(ready, ended.hypotheses(self.settings), strict=True):
                found[holders.pop(slot)] = hypotheses
            done += len(ready)
            told(done)
        return found

    def _work(self, held: Sequence[int], *, enough: int) -> list[int]:
        """Take steps until that many of the held slots are done, or all of them; which ones."""
        while True:
            improvable, taken = self.state.improvable.tolist(), self.state.taken.tolist()
            ready = [slot for slot in held if not improvable[slot]]
            if len(ready) >= min(enough, len(held)):
                return ready
            oldest = max(taken[slot] for slot in held if improvable[slot])
            for _ in range(min(_LOOK_EVERY, self.steps - oldest)):
                self._graph.replay()

    def _admit(
        self, prompts: Sequence[Sequence[int]], slots: Sequence[int], *, prefix: int
    ) -> None:
        """Read new users' prompts into free slots and take their first token."""
        device = self.model.device
        rows = torch.tensor(slots, device=device)
        tails = [prompt[prefix:] for prompt in prompts]
        logits = self.model.read_prompts(tails, self.cache, slots, before=prefix)
        state = BeamState.begin(len(slots), self.settings, steps=self.steps, device=device)
        found = self._candidates(state, logits, beams=1)
        state, parents = advance(state, found, self.settings, cut_off=self.trie is None)
        self.state.put(rows, state)
        self.parents[rows] = parents
        self.lengths[rows] = torch.tensor([len(prompt) for prompt in prompts], device=device)

    def _step(self) -> None:
        """One more token in every slot; slots that are done or empty go through the motions."""
        steps = self.state.taken.clamp_max(self.steps)
        last = (steps - 1)[:, None, None].expand(-1, self.settings.beams, 1)
        lineage = self.ancestors.gather(1, self.parents[:, :, None].expand_as(self.ancestors))
        self.ancestors.copy_(lineage.scatter(2, last, self.own[:, :, None]))
        tokens = self.state.running.gather(2, last)[:, :, 0]
        seen_by = self._seen_by()
        logits = self.model.read_tokens(tokens, self.cache, self.lengths, steps, seen_by)
        found = self._candidates(self.state, logits, beams=self.settings.beams)
        state, parents = advance(self.state, found, self.settings, cut_off=self.trie is None)
        self.state.put(slice(None), state)
        self.parents.copy_(parents)

    def _seen_by(self) -> torch.Tensor:
        """A bit for every beam that descends from an entry: (slots, steps * beams) int64."""
        beam = torch.arange(self.settings.beams, device=self.model.device)
        descends = self.ancestors[..., None] == beam
        bits = (descends << beam[:, None, None]).sum(1)
        return bits.flatten(1)

    def _candidates(self, state: BeamState, logits: torch.Tensor, *, beams: int) -> Candidates:
        """The best continuations out of raw logits (users * beams, vocabulary)."""
        wanted = 2 * self.settings.beams
        if self.trie is None:
            total, best, tokens = row_maxima(logits, min(wanted, logits.shape[1]))
            nodes = torch.zeros_like(tokens)
        else:
            total, _, _ = row_maxima(logits, 0)
            at = state.nodes[:, :beams].flatten()
            best, edges = trie_maxima(logits, at, self.trie.starts, self.trie.tokens, wanted)
            tokens = self.trie.tokens[edges.clamp_max(len(self.trie.tokens) - 1)]
            nodes = torch.where(best > -torch.inf, edges + 1, self.trie.dead)
        shape = (len(logits) // beams, beams, -1)
        return best_candidates(
            state,
            self.settings,
            (best - total[:, None]).view(shape),
            tokens.view(shape),
            nodes.view(shape),
        )

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Record `_step`, after it has run on a side stream as PyTorch asks for."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._step()
            self._step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        return graph
