"""The bookkeeping of beam search: running and finished beams of many users, as tensors.

Selection follows `generate(num_beams=…, early_stopping=False)` of transformers 5 rule by rule.
Every user has a step of its own, and everything is tensor arithmetic without a look at the values,
so that it serves one batch in Python and a captured CUDA graph alike.

Knows token ids and scores; knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from gloss.errors import ConfigError

__all__ = [
    "BeamSettings",
    "BeamState",
    "Candidates",
    "Hypothesis",
    "advance",
    "best_candidates",
    "hypotheses",
]

_NEVER = -1.0e9
"""Added to a score that must not be chosen: transformers' number, which equality needs."""


@dataclass(frozen=True, slots=True)
class BeamSettings:
    """beams: searched; returned: kept, at most `beams`; max_new_tokens: end included.

    length_penalty: a finished beam's score is the sum of its log-probabilities divided by
    length ** length_penalty; 0 is the log-probability itself, 1 what transformers defaults to.
    end: the end-of-text token.
    """

    beams: int
    returned: int
    max_new_tokens: int
    length_penalty: float
    end: int

    def __post_init__(self) -> None:
        if not 1 <= self.returned <= self.beams:
            raise ConfigError(f"returned must be 1 to {self.beams} (beams), not {self.returned}")


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A finished beam: its tokens without the end token, and its score (natural logarithm)."""

    tokens: tuple[int, ...]
    score: float


@dataclass(frozen=True, slots=True)
class Candidates:
    """The 2 x beams best continuations of each user, best first; each (users, 2 x beams).

    Twice as many as beams, so that enough go on running when every beam ends. scores: sums of
    log-probabilities over all tokens; parents: the beam that is continued; nodes: where the beam
    stands in a trie then, unused without one.
    """

    scores: torch.Tensor
    parents: torch.Tensor
    tokens: torch.Tensor
    nodes: torch.Tensor


@dataclass(frozen=True, slots=True)
class BeamState:
    """Where the search stands for each user.

    running: (users, beams, steps) tokens; scores, nodes: (users, beams), as in `Candidates`.
    finished, lengths, finished_scores, is_finished: the same for beams that ended, best first.
    improvable: (users,) whether a running beam could still beat a finished one, False after the
    last step. taken: (users,) steps taken so far.
    """

    running: torch.Tensor
    scores: torch.Tensor
    nodes: torch.Tensor
    finished: torch.Tensor
    lengths: torch.Tensor
    finished_scores: torch.Tensor
    is_finished: torch.Tensor
    improvable: torch.Tensor
    taken: torch.Tensor

    @classmethod
    def begin(
        cls, users: int, settings: BeamSettings, *, steps: int, device: torch.device
    ) -> BeamState:
        """Nothing taken yet; only the first beam counts, the others would be its copies."""
        shape = (users, settings.beams)
        scores = torch.full(shape, _NEVER, device=device)
        scores[:, 0] = 0.0
        running = torch.full((*shape, steps), max(settings.end, 0), device=device)
        return cls(
            running=running,
            scores=scores,
            nodes=torch.zeros(shape, dtype=torch.long, device=device),
            finished=running.clone(),
            lengths=torch.zeros(shape, dtype=torch.long, device=device),
            finished_scores=torch.full(shape, _NEVER, device=device),
            is_finished=torch.zeros(shape, dtype=torch.bool, device=device),
            improvable=torch.ones(users, dtype=torch.bool, device=device),
            taken=torch.zeros(users, dtype=torch.long, device=device),
        )

    @property
    def is_running(self) -> torch.Tensor:
        """(users, beams) whether a beam can be continued: one that nothing could follow cannot."""
        return self.scores > _NEVER / 2

    def select(self, rows: torch.Tensor) -> BeamState:
        """These users only."""
        return BeamState(*(getattr(self, field.name)[rows] for field in fields(self)))

    def joined(self, other: BeamState) -> BeamState:
        """These users, then others."""
        return BeamState(
            *(torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self))
        )

    def put(self, rows: torch.Tensor | slice, other: BeamState) -> None:
        """Overwrite these users in place."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)

    def hypotheses(self, settings: BeamSettings) -> list[tuple[Hypothesis, ...]]:
        """The finished beams of each user, best first; fewer than `returned` if fewer ended."""
        return hypotheses(self.finished, self.lengths, self.finished_scores, settings.returned)


def hypotheses(
    finished: torch.Tensor, lengths: torch.Tensor, scores: torch.Tensor, returned: int
) -> list[tuple[Hypothesis, ...]]:
    """See `BeamState.hypotheses`; the tensors are those of its fields."""
    tokens_of, lengths_of = finished[:, :returned].tolist(), lengths[:, :returned].tolist()
    return [
        tuple(
            Hypothesis(tuple(tokens[:length]), score)
            for tokens, length, score in zip(*of_user, strict=True)
            if score > _NEVER / 2
        )
        for of_user in zip(tokens_of, lengths_of, scores[:, :returned].tolist(), strict=True)
    ]


def best_candidates(
    state: BeamState,
    settings: BeamSettings,
    log_probs: torch.Tensor,
    tokens: torch.Tensor,
    nodes: torch.Tensor,
) -> Candidates:
    """The best continuations over all beams of a user, from the best n of each beam.

    log_probs, tokens, nodes: (users, rows, n); rows is beams, or 1 before the first token. -inf
    marks what cannot follow. A candidate's parent is its row: with n = 3, the seventh of a user's
    flattened candidates continues beam 6 // 3 = 2.
    """
    users, rows, width = log_probs.shape
    totals = (log_probs + state.scores[:, :rows, None]).view(users, -1)  # (users, rows * n)
    wanted = 2 * settings.beams
    scores, order = totals.topk(min(wanted, totals.shape[1]))
    missing = wanted - scores.shape[1]
    if missing:
        scores = torch.nn.functional.pad(scores, (0, missing), value=-torch.inf)
        order = torch.nn.functional.pad(order, (0, missing))
    return Candidates(
        scores,
        order // width,
        tokens.reshape(users, -1).gather(1, order),
        nodes.reshape(users, -1).gather(1, order),
    )


def advance(
    state: BeamState, candidates: Candidates, settings: BeamSettings, *, cut_off: bool
) -> tuple[BeamState, torch.Tensor]:
    """Take one more token everywhere; also returns each running beam's parent, (users, beams).

    The best candidates that do not stop run on; those that stop compete with the finished beams.
    cut_off: whether sequences that reach the last step count as finished although they did not end.
    """
    steps = state.running.shape[2]
    step = state.taken.clamp_max(steps - 1)  # (users,) where the new token is written
    sequences = _gather_beams(state.running, candidates.parents)  # (users, 2 x beams, steps)
    column = step[:, None, None].expand(-1, sequences.shape[1], 1)
    sequences = sequences.scatter(2, column, candidates.tokens[:, :, None])
    ended = (candidates.tokens == settings.end) & (candidates.scores > -torch.inf)
    stops = ended | (step + 1 == steps)[:, None] if cut_off else ended  # (users, 2 x beams)
    scores, order = (candidates.scores + stops * _NEVER).topk(settings.beams)
    finished = _finish(state, candidates.scores, sequences, stops, ended, step, settings)
    taken = state.taken + 1
    # The bound of transformers: a running beam's score if it ended now.
    bound = scores[:, 0] / taken**settings.length_penalty  # (users,)
    worst = finished["finished_scores"].amin(1, keepdim=True)
    worst = torch.where(finished["is_finished"], worst, _NEVER)  # (users, beams)
    improvable = state.improvable & (bound[:, None] > worst).any(1) & (taken < steps)
    after = BeamState(
        running=_gather_beams(sequences, order),
        scores=scores,
        nodes=candidates.nodes.gather(1, order),
        improvable=improvable,
        taken=taken,
        **finished,
    )
    return after, candidates.parents.gather(1, order)


def _finish(
    state: BeamState,
    scores: torch.Tensor,
    sequences: torch.Tensor,
    stops: torch.Tensor,
    ended: torch.Tensor,
    step: torch.Tensor,
    settings: BeamSettings,
) -> dict[str, torch.Tensor]:
    """Let candidates that stop among the best `beams` compete with those that finished before."""
    among_best = torch.arange(stops.shape[1], device=stops.device) < settings.beams
    stops = stops & among_best
    final = scores / (step + 1)[:, None] ** settings.length_penalty  # (users, 2 x beams)
    final = final + (~state.improvable)[:, None] * _NEVER + ~stops * _NEVER
    merged = torch.cat([state.finished_scores, final], dim=1)  # (users, 3 x beams)
    finished_scores, order = merged.topk(settings.beams)
    # The end token is not part of a title; a beam that was cut off has none.
    length = torch.where(ended, step[:, None], step[:, None] + 1)
    return {
        "finished": _gather_beams(torch.cat([state.finished, sequences], dim=1), order),
        "lengths": torch.cat([state.lengths, length], dim=1).gather(1, order),
        "finished_scores": finished_scores,
        "is_finished": torch.cat([state.is_finished, stops], dim=1).gather(1, order),
    }


def _gather_beams(values: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """values (users, n, length) at order (users, m): (users, m, length)."""
    return values.gather(1, order[:, :, None].expand(-1, -1, values.shape[2]))
