"""Beam search on a CUDA device: a step of all slots is one captured CUDA graph.

Model, choice of continuations and bookkeeping are recorded once and replayed: their hundreds of
small kernels take longer to launch than to run. So a step has one shape whoever holds the slots,
and the host looks only now and then who is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gloss.decoding.beams import BeamSettings, BeamState, Hypothesis
from gloss.decoding.cuda.llama import CudaLlama
from gloss.decoding.cuda.topk import row_topk, trie_topk
from gloss.decoding.lineage import descendant_bits
from gloss.decoding.memory import MEMORY_SHARE
from gloss.decoding.slots import Slots, SlotSearch, positions_of, round_up
from gloss.decoding.support import MOST_CUDA_BEAMS
from gloss.decoding.title_trie import TitleTrie
from gloss.errors import ConfigError

__all__ = ["CudaSearch", "CudaSlots"]

_MOST_SLOTS = 512
_LONGEST_MULTIPLE = 128
"""Slots are made for prompts of up to a multiple of so many tokens, so that few are too short."""
_STEPS_BETWEEN_LOOKS = 4
"""A look at who is done waits for the device."""


class CudaSearch(SlotSearch[CudaLlama]):
    """The fast path on a CUDA device; slots and their graph are kept from call to call."""

    def __init__(
        self,
        model: Any,
        settings: BeamSettings,
        trie: TitleTrie | None,
        *,
        entries: int | None = None,
        memory_share: float = 1.0,
    ) -> None:
        """entries: cache entries to hold at once; None: what fits into `memory_share` of what a
        cache may take of the free memory. Raises ConfigError for more than 64 beams."""
        if settings.beams > MOST_CUDA_BEAMS:
            raise ConfigError(
                f"the fast path for CUDA devices takes {MOST_CUDA_BEAMS} beams at most, not "
                f"{settings.beams}: use fewer, or `BatchedSearch`"
            )
        llama = CudaLlama(model, positions=positions_of(model, settings, trie))
        super().__init__(llama, settings, trie, most_slots=_MOST_SLOTS)
        self.entries, self.memory_share = entries, memory_share
        self._longest = 0  # tokens of the longest prompt that the kept slots can hold
        self._kept: CudaSlots | None = None

    def _forget(self) -> None:
        self._longest, self._kept = 0, None

    def _slots_for(self, prompts: Sequence[Sequence[int]]) -> CudaSlots:
        longest = max(map(len, prompts))
        if self._kept is None or longest > self._longest:
            self._release()
            self._longest = round_up(longest, _LONGEST_MULTIPLE)
            self._tried = self._fitting(self._entries(), longest=self._longest)
            self._kept = CudaSlots(
                self.model, self.settings, self.trie, slots=self._tried, longest=self._longest
            )
        return self._kept

    def _release(self) -> None:
        self._kept = None
        torch.cuda.empty_cache()

    def _entries(self) -> int:
        if self.entries is not None:
            return self.entries
        free, _ = torch.cuda.mem_get_info()
        return int(free * MEMORY_SHARE * self.memory_share) // self.model.entry_bytes()


class CudaSlots(Slots[CudaLlama]):
    """See `Slots`. The state of all slots stands in tensors that the graph reads and writes.

    state: a row a slot; a slot without a user is one whose user cannot be improved. parents:
    (slots, beams), of the running beams. ancestors: (slots, beams, steps) int32, which beam of each
    step a running beam's parent descends from. lengths: (slots,) tokens of the prompts.
    """

    most_prefill_tokens = 32768
    capacity_multiple = 64

    _row_topk = staticmethod(row_topk)
    _trie_topk = staticmethod(trie_topk)

    @torch.inference_mode()
    def __init__(
        self,
        model: CudaLlama,
        settings: BeamSettings,
        trie: TitleTrie | None,
        *,
        slots: int,
        longest: int,
    ) -> None:
        super().__init__(model, settings, trie, slots=slots, longest=longest)
        beams, device = settings.beams, model.device
        for side in self.cache.keys + self.cache.values:
            side.zero_()  # slots without a user are computed too, and must not hold NaN
        self.state = BeamState.begin(slots, settings, steps=self.steps, device=device)
        self.state.improvable.zero_()
        self.state.taken.fill_(1)
        self.parents = torch.zeros(slots, beams, dtype=torch.long, device=device)
        self.ancestors = torch.zeros(slots, beams, self.steps, dtype=torch.int32, device=device)
        self.lengths = torch.ones(slots, dtype=torch.long, device=device)
        self.own = torch.arange(beams, device=device, dtype=torch.int32).expand(slots, -1)
        self._graph = self._capture()

    def _put(
        self,
        slots: Sequence[int],
        state: BeamState,
        parents: torch.Tensor,
        lengths: torch.Tensor,
    ) -> None:
        rows = torch.tensor(slots, device=self.model.device)
        self.state.put(rows, state)
        self.parents[rows] = parents
        self.lengths[rows] = lengths

    def _run(
        self, held: Sequence[int], *, some_wait: bool, looks: bool
    ) -> dict[int, tuple[Hypothesis, ...]]:
        # Admitting a few users costs a pass as long as admitting many.
        enough = min(max(1, self.slots // 4) if some_wait and not looks else 1, len(held))
        done = self._done(held)
        while len(done) < enough:
            self._take_steps(held)
            done = self._done(held)
            if looks:
                break
        return self._finished(done)

    def _finished(self, held: Sequence[int]) -> dict[int, tuple[Hypothesis, ...]]:
        rows = torch.tensor(held, dtype=torch.long, device=self.model.device)
        of_slots = self.state.select(rows).hypotheses(self.settings)
        return dict(zip(held, of_slots, strict=True))

    def _done(self, held: Sequence[int]) -> list[int]:
        improvable = self.state.improvable.tolist()
        return [slot for slot in held if not improvable[slot]]

    def _take_steps(self, held: Sequence[int]) -> None:
        """A few steps, none beyond the last one of a held slot that goes on."""
        improvable, taken = self.state.improvable.tolist(), self.state.taken.tolist()
        oldest = max(taken[slot] for slot in held if improvable[slot])
        for _ in range(min(_STEPS_BETWEEN_LOOKS, self.steps - oldest)):
            self._graph.replay()

    def _step(self) -> None:
        """One more token in every slot; slots that are done or empty go through the motions."""
        beams = self.settings.beams
        taken = self.state.taken.clamp_max(self.steps)  # done slots count on
        last = (taken - 1)[:, None, None].expand(-1, beams, 1)  # (slots, beams, 1)
        lineage = self.ancestors.gather(1, self.parents[:, :, None].expand_as(self.ancestors))
        self.ancestors.copy_(lineage.scatter(2, last, self.own[:, :, None]))
        tokens = self.state.running.gather(2, last)[:, :, 0]  # (slots, beams)
        descendants = descendant_bits(self.ancestors)
        logits = self.model.read_tokens(tokens, self.cache, self.lengths, taken, descendants)
        state, parents = self._advance(self.state, logits, rows=beams)
        self.state.put(slice(None), state)
        self.parents.copy_(parents)

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
