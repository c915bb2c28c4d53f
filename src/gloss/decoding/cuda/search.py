"""Beam search on a CUDA device: a step of all slots is one captured CUDA graph.

Model, choice of continuations and bookkeeping are recorded once and replayed: their hundreds of
small kernels take longer to launch than to run. So a step has one shape whoever holds the slots,
and the host looks only now and then who is done. While users wait, the next steps are queued before
it looks: what it then does (titles of the done, prompts of the next) costs the device no time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gloss.decoding.beams import BeamSettings, BeamState, Hypothesis, hypotheses
from gloss.decoding.cuda.llama import CudaLlama
from gloss.decoding.cuda.topk import row_topk, trie_topk
from gloss.decoding.lineage import descendant_bits
from gloss.decoding.memory import MEMORY_SHARE
from gloss.decoding.slots import Slots, SlotSearch, positions_of, round_up
from gloss.decoding.support import MOST_CUDA_BEAMS
from gloss.decoding.title_trie import TitleTrie
from gloss.decoding.transfer import sent
from gloss.errors import ConfigError

__all__ = ["CudaSearch", "CudaSlots"]

_MOST_SLOTS = 512
_LONGEST_MULTIPLE = 128
"""Slots are made for prompts of up to a multiple of so many tokens, so that few are too short."""
_STEPS_BETWEEN_LOOKS = 4
_ADMITTED_SHARE = 8
"""Waiting users come in when so great a part of the slots is free, one in eight: admitting a few
costs a pass as long as admitting many."""


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
        self._look = _Look(self.state)
        self._graph = self._capture()

    def _put(
        self,
        slots: Sequence[int],
        state: BeamState,
        parents: torch.Tensor,
        lengths: torch.Tensor,
    ) -> None:
        rows = sent(torch.tensor(slots), self.model.device)
        self.state.put(rows, state)
        self.parents[rows] = parents
        self.lengths[rows] = lengths

    def _run(
        self, held: Sequence[int], *, some_wait: bool, looks: bool
    ) -> dict[int, tuple[Hypothesis, ...]]:
        runs_ahead = some_wait and not looks
        enough = min(max(1, self.slots // _ADMITTED_SHARE) if runs_ahead else 1, len(held))
        done = self._done(held, runs_ahead=runs_ahead)
        while len(done) < enough:
            if not runs_ahead:
                self._take_steps(held)
            done = self._done(held, runs_ahead=runs_ahead)
            if looks:
                break
        return self._finished(done)

    def _finished(self, held: Sequence[int]) -> dict[int, tuple[Hypothesis, ...]]:
        """As the last look saw them; who is done then does not change."""
        return dict(zip(held, self._look.hypotheses(held, self.settings), strict=True))

    def _done(self, held: Sequence[int], *, runs_ahead: bool) -> list[int]:
        """Look who is done. runs_ahead: queue more steps before waiting for what is seen; in a slot
        that is done already they change nothing."""
        self._look.begin(self.state)
        if runs_ahead:
            self._replay(_STEPS_BETWEEN_LOOKS)
        self._look.wait()
        return [slot for slot in held if not self._look.improvable[slot]]

    def _take_steps(self, held: Sequence[int]) -> None:
        """A few steps, none beyond the last one of a held slot that goes on."""
        look = self._look
        oldest = max(look.taken[slot] for slot in held if look.improvable[slot])
        self._replay(min(_STEPS_BETWEEN_LOOKS, self.steps - oldest))

    def _replay(self, steps: int) -> None:
        for _ in range(steps):
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


class _Look:
    """What the host sees of the slots: copies in pinned memory, made when the device gets there.

    improvable, taken: of each slot, after `wait`.
    """

    improvable: list[bool]
    taken: list[int]

    def __init__(self, state: BeamState) -> None:
        looked_at = ("improvable", "taken", "finished", "lengths", "finished_scores")
        self._copies = {
            name: torch.empty_like(getattr(state, name), device="cpu", pin_memory=True)
            for name in looked_at
        }
        self._made = torch.cuda.Event()

    def begin(self, state: BeamState) -> None:
        """Queue the copies behind all steps so far."""
        for name, copy in self._copies.items():
            copy.copy_(getattr(state, name), non_blocking=True)
        self._made.record()

    def wait(self) -> None:
        """Until the copies are made."""
        self._made.synchronize()
        self.improvable = self._copies["improvable"].tolist()
        self.taken = self._copies["taken"].tolist()

    def hypotheses(
        self, slots: Sequence[int], settings: BeamSettings
    ) -> list[tuple[Hypothesis, ...]]:
        """The beams of these slots that have finished."""
        rows = torch.tensor(slots, dtype=torch.long, device="cpu")
        finished, lengths, scores = (
            self._copies[name][rows] for name in ("finished", "lengths", "finished_scores")
        )
        return hypotheses(finished, lengths, scores, settings.returned)
