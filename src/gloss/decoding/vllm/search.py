"""Beam search whose next tokens vLLM computes: a request for each beam and step, one token long.

vLLM keeps the keys and values of prompts and beams in blocks and finds them again by their tokens
(prefix caching), so that a request computes what follows the last full block. What may follow
inside the catalogue goes with the request (`allowed_tokens.py`); beams are chosen here, by the
rules of every other search.

Knows token ids only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gloss.decoding.beam_loop import NextTokens, search_beams
from gloss.decoding.beams import BeamSettings, BeamState
from gloss.decoding.search import OnFinished, SearchResults, steps_of
from gloss.decoding.title_trie import TitleTrie
from gloss.decoding.vllm.engine import VllmEngine
from gloss.progress import Progress, silent

__all__ = ["VllmSearch"]


class VllmSearch:
    """Users in batches whose keys and values the engine can hold at once, whole.

    entries: users x (longest prompt + steps x beams) at most, but one user always; None: as many as
    the engine's cache has.
    """

    def __init__(
        self,
        engine: VllmEngine,
        settings: BeamSettings,
        trie: TitleTrie | None,
        *,
        entries: int | None = None,
    ) -> None:
        self.engine, self.settings, self.trie = engine, settings, trie
        self.entries = entries or engine.cache_entries()

    def search(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        progress: Progress = silent,
        on_finished: OnFinished | None = None,
    ) -> SearchResults:
        """See `Search.search`."""
        results: SearchResults = []
        while len(results) < len(prompts):
            first = len(results)
            batch = prompts[first : first + self._fitting(prompts[first:])]
            reader = VllmReader(self.engine, batch, self.settings, self.trie)
            results += search_beams(
                reader,
                len(batch),
                self.settings,
                trie=self.trie,
                on_finished=_numbered_from(first, on_finished),
            )
            progress(len(results), len(prompts))
        return results

    def within(self, trie: TitleTrie) -> VllmSearch:
        """See `Search.within`."""
        return VllmSearch(self.engine, self.settings, trie, entries=self.entries)

    def _fitting(self, prompts: Sequence[Sequence[int]]) -> int:
        """How many of the first prompts the engine's cache holds with their beams; one at least."""
        generated = steps_of(self.settings, self.trie) * self.settings.beams
        held, users = 0, 0
        for prompt in prompts:
            held += len(prompt) + generated
            if users and held > self.entries:
                break
            users += 1
        return users


def _numbered_from(first: int, on_finished: OnFinished | None) -> OnFinished | None:
    """The same, called with a prompt's number among all: those of a batch begin at `first`."""
    if on_finished is None:
        return None
    return lambda user, hypotheses: on_finished(first + user, hypotheses)


class VllmReader:
    """Asks the engine what follows each beam that still runs; see `beam_loop.Reader`."""

    def __init__(
        self,
        engine: VllmEngine,
        prompts: Sequence[Sequence[int]],
        settings: BeamSettings,
        trie: TitleTrie | None,
    ) -> None:
        self.engine, self.prompts, self.trie = engine, [*prompts], trie
        self.width = 2 * settings.beams
        self.device = torch.device("cpu") if trie is None else trie.starts.device

    def read_prompts(self, state: BeamState) -> NextTokens:
        """See `Reader.read_prompts`."""
        return self._following(state, 1)

    def read_beams(self, state: BeamState, parents: torch.Tensor) -> NextTokens:
        """See `Reader.read_beams`; a request carries all tokens of its beam."""
        return self._following(state, state.scores.shape[1])

    def keep(self, rows: torch.Tensor) -> None:
        """See `Reader.keep`."""
        self.prompts = [self.prompts[row] for row in rows.tolist()]

    def _following(self, state: BeamState, rows: int) -> NextTokens:
        """What follows the first `rows` beams of each user, (users, rows, 2 x beams)."""
        shape = (len(self.prompts), rows, self.width)
        log_probs = torch.full(shape, -torch.inf)
        tokens = torch.zeros(shape, dtype=torch.long)
        # A beam that nothing could continue has no score.
        runs = (state.improvable[:, None] & state.is_running[:, :rows]).cpu()  # (users, rows)
        users, beams = runs.nonzero(as_tuple=True)  # (requests,)
        log_probs[users, beams], tokens[users, beams] = self.engine.next_tokens(
            self._texts(state, users, beams), self._allowed(state, users, beams), self.width
        )
        return NextTokens(log_probs.to(self.device), tokens.to(self.device))

    def _texts(self, state: BeamState, users: torch.Tensor, beams: torch.Tensor) -> list[list[int]]:
        """The tokens of each request: a user's prompt, and what a beam has written."""
        taken = state.taken.tolist()
        written = state.running.cpu()[users, beams].tolist()  # (requests, steps)
        return [
            [*self.prompts[user], *beam[: taken[user]]]
            for user, beam in zip(users.tolist(), written, strict=True)
        ]

    def _allowed(
        self, state: BeamState, users: torch.Tensor, beams: torch.Tensor
    ) -> list[list[int]] | None:
        """The tokens that may follow in each request; None if all may."""
        if self.trie is None:
            return None
        nodes = state.nodes.cpu()[users, beams]  # (requests,)
        rows, tokens = self.trie.allowed(nodes.to(self.device))
        counts = torch.bincount(rows, minlength=len(nodes)).tolist()
        return [part.tolist() for part in tokens.split(counts)]
