"""Beam search on a CPU: slots that refill, each user at a step of its own.

The sibling of `engine`, without a graph: a step works on the users at hand only, whoever is done
leaves at once, and the cache is written and never copied. The results are those of `beam_search`,
up to the rounding of products of other sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from gloss.decoding.beams import (
    BeamSettings,
    BeamState,
    Candidates,
    Hypothesis,
    advance,
    best_candidates,
)
from gloss.decoding.cpu.llama import CpuLlama
from gloss.decoding.llama_weights import common_prefix, groups
from gloss.decoding.title_trie import TitleTrie

__all__ = ["CpuSearch", "row_maxima", "trie_maxima"]

_PREFILL_TOKENS = 2048
_STRETCH = 64

Told = Callable[[int], None]
"""Called with how many users are done."""


@dataclass(frozen=True, slots=True)
class _Table:
    """The users at hand: who they are, their slots, and where each stands.

    lengths: (users,) tokens of the prompts; parents: (users, beams), of the running beams; mask:
    (users, beams, capacity), 0 for what each beam's parent looked at, -inf elsewhere.
    """

    users: list[int]
    slots: list[int]
    state: BeamState
    parents: torch.Tensor
    lengths: torch.Tensor
    mask: torch.Tensor

    def select(self, rows: torch.Tensor) -> _Table:
        """These rows only."""
        return _Table(
            [self.users[row] for row in rows.tolist()],
            [self.slots[row] for row in rows.tolist()],
            self.state.select(rows),
            self.parents[rows],
            self.lengths[rows],
            self.mask[rows],
        )

    def joined(self, other: _Table) -> _Table:
        """These users, then others."""
        return _Table(
            self.users + other.users,
            self.slots + other.slots,
            self.state.joined(other.state),
            torch.cat([self.parents, other.parents]),
            torch.cat([self.lengths, other.lengths]),
            torch.cat([self.mask, other.mask]),
        )


class CpuSearch:
    """Searches many prompts with a fixed number of slots."""

    def __init__(
        self,
        model: CpuLlama,
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
        self.capacity = longest + self.steps * settings.beams
        self.cache = model.new_cache(slots, self.capacity)

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
        table: _Table | None = None
        free, done = list(range(self.slots)), 0
        while waiting or table:
            coming, waiting = waiting[: len(free)], waiting[len(free) :]
            for group in groups(coming, prompts, prefix, tokens=_PREFILL_TOKENS):
                slots, free = free[: len(group)], free[len(group) :]
                new = self._admit(group, [prompts[user] for user in group], slots, prefix=prefix)
                table = table.joined(new) if table else new
            assert table is not None
            going_on = table.state.improvable & (table.state.taken < self.steps)
            if not going_on.all():
                left = table.select((~going_on).nonzero().flatten())
                table = table.select(going_on.nonzero().flatten()) if going_on.any() else None
                for user, best in zip(
                    left.users, left.state.hypotheses(self.settings), strict=True
                ):
                    found[user] = best
                free += left.slots
                done += len(left.users)
                told(done)
            if table:
                table = self._step(table)
        return found

    def _admit(
        self,
        users: list[int],
        prompts: Sequence[Sequence[int]],
        slots: list[int],
        *,
        prefix: int,
    ) -> _Table:
        """Read new users' prompts into free slots and take their first token."""
        tails = [prompt[prefix:] for prompt in prompts]
        logits = self.model.read_prompts(tails, self.cache, slots, before=prefix)
        device = self.model.device
        state = BeamState.begin(len(users), self.settings, steps=self.steps, device=device)
        found = self._candidates(state, logits, beams=1)
        state, parents = advance(state, found, self.settings, cut_off=self.trie is None)
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        seen = torch.arange(self.capacity) < lengths[:, None, None]
        mask = torch.where(seen, 0.0, -torch.inf).expand(-1, self.settings.beams, -1)
        return _Table(users, slots, state, parents, lengths, mask)

    def _step(self, table: _Table) -> _Table:
        """One more token for everybody."""
        beams, steps = self.settings.beams, table.state.taken
        mask = table.mask.gather(1, table.parents[:, :, None].expand_as(table.mask))
        own = (table.lengths + (steps - 1) * beams)[:, None, None] + torch.arange(beams)[:, None]
        mask.scatter_(2, own, 0.0)
        last = (steps - 1)[:, None, None].expand(-1, beams, 1)
        tokens = table.state.running.gather(2, last)[:, :, 0]
        logits = self.model.read_tokens(tokens, self.cache, table.slots, table.lengths, steps, mask)
        found = self._candidates(table.state, logits, beams=beams)
        state, parents = advance(table.state, found, self.settings, cut_off=self.trie is None)
        return _Table(table.users, table.slots, state, parents, table.lengths, mask)

    def _candidates(self, state: BeamState, logits: torch.Tensor, *, beams: int) -> Candidates:
        """The best continuations out of raw logits (users * beams, vocabulary)."""
        wanted = min(2 * self.settings.beams, logits.shape[1])
        total = logits.logsumexp(1)
        if self.trie is None:
            best, tokens = row_maxima(logits, wanted)
            nodes = torch.zeros_like(tokens)
        else:
            best, edges = trie_maxima(logits, state.nodes[:, :beams].flatten(), self.trie, wanted)
            tokens = self.trie.tokens[edges]
            nodes = torch.where(best > -torch.inf, edges + 1, self.trie.dead)
        shape = (len(logits) // beams, beams, -1)
        return best_candidates(
            state,
            self.settings,
            (best - total[:, None]).view(shape),
            tokens.view(shape),
            nodes.view(shape),
        )


def row_maxima(logits: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` largest of each row (rows, vocabulary) and their columns, largest first.

    They lie in the `count` stretches of the row whose own peaks are largest, and only those are
    looked at again: a peak is found many times faster than an order.
    """
    whole = logits.shape[1] // _STRETCH
    if whole <= count:
        return logits.topk(count)
    peaks = logits[:, : whole * _STRETCH].unflatten(1, (whole, _STRETCH)).amax(2)
    chosen = peaks.topk(count, sorted=False).indices
    columns = (chosen[:, :, None] * _STRETCH + torch.arange(_STRETCH)).flatten(1)
    rest = torch.arange(whole * _STRETCH, logits.shape[1]).expand(len(logits), -1)
    columns = torch.cat([columns, rest], dim=1)
    best, order = logits.gather(1, columns).topk(count)
    return best, columns.gather(1, order)


def trie_maxima(
    logits: torch.Tensor, nodes: torch.Tensor, trie: TitleTrie, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` largest logits among those that may follow each row's node of a trie.

    logits: (rows, vocabulary); nodes: (rows,). Returns the logits (rows, n), n at most `count`,
    -inf where there are fewer, and their edges.
    """
    first = trie.starts[nodes][:, None]
    widths = trie.starts[nodes + 1][:, None] - first
    lane = torch.arange(max(1, int(widths.max())))
    edges = (first + lane).clamp_max(len(trie.tokens) - 1)
    allowed = logits.gather(1, trie.tokens[edges]).masked_fill(lane >= widths, -torch.inf)
    best, order = allowed.topk(min(count, allowed.shape[1]))
    return best, edges.gather(1, order)
