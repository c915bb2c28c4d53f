"""Beam search as a loop over any reader of tokens: a model here, or an engine that holds one.

Knows beams and what may follow them; how a next token's probability is computed is the reader's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from gloss.decoding.beams import (
    BeamSettings,
    BeamState,
    Candidates,
    advance,
    best_candidates,
)
from gloss.decoding.search import OnFinished, SearchResults, steps_of
from gloss.decoding.title_trie import TitleTrie

__all__ = ["NextTokens", "Reader", "search_beams"]


@dataclass(frozen=True, slots=True)
class NextTokens:
    """The best next tokens of each beam; log_probs, tokens: (users, rows, n), rows beams or 1.

    -inf marks a token that cannot follow.
    """

    log_probs: torch.Tensor
    tokens: torch.Tensor


class Reader(Protocol):
    """Reads prompts and beams, and says what may come next: 2 x beams tokens of each, if there are
    as many."""

    device: torch.device

    def read_prompts(self, state: BeamState) -> NextTokens:
        """Read every prompt: one row a user."""

    def read_beams(self, state: BeamState, parents: torch.Tensor) -> NextTokens:
        """Read the last token of every running beam. parents: (users, beams), of each beam among
        those of the step before."""

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these users only."""


@torch.inference_mode()
def search_beams(
    reader: Reader,
    users: int,
    settings: BeamSettings,
    *,
    trie: TitleTrie | None = None,
    on_finished: OnFinished | None = None,
) -> SearchResults:
    """The best continuations of each of the reader's prompts, best first."""
    steps = steps_of(settings, trie)
    state = BeamState.begin(users, settings, steps=steps, device=reader.device)
    results: SearchResults = [()] * users
    numbers = torch.arange(users, device=reader.device)  # of each row's user
    following = reader.read_prompts(state)
    for _ in range(steps):
        candidates = _candidates(state, settings, following, trie)
        state, parents = advance(state, candidates, settings, cut_off=trie is None)
        if on_finished is not None:
            for user, finished in zip(numbers.tolist(), state.hypotheses(settings), strict=True):
                on_finished(user, finished)
        going_on = state.improvable
        # Rows that are done only cost; they leave once they are half of the batch.
        if 2 * int(going_on.sum()) <= len(numbers):
            ended = state.select(~going_on).hypotheses(settings)
            for user, hypotheses in zip(numbers[~going_on].tolist(), ended, strict=True):
                results[user] = hypotheses
            stay = going_on.nonzero().flatten()
            if not len(stay):
                break
            numbers, parents, state = numbers[stay], parents[stay], state.select(stay)
            reader.keep(stay)
        following = reader.read_beams(state, parents)
    return results


def _candidates(
    state: BeamState, settings: BeamSettings, following: NextTokens, trie: TitleTrie | None
) -> Candidates:
    """The best continuations over all beams of each user, with the nodes that they lead to."""
    tokens = following.tokens
    nodes = state.nodes[:, : tokens.shape[1], None].expand_as(tokens)
    if trie is not None:
        nodes = trie.step(nodes, tokens)
    return best_candidates(state, settings, following.log_probs, tokens, nodes)
