"""The bookkeeping of beam search: running and finished beams of many users, as tensors.

Selection follows `generate(num_beams=…, early_stopping=False)` of transformers 5 rule by rule.
Every user has a step of its own, and everything is pure tensor arithmetic without a look at the
values, so it serves one batch in Python and a captured CUDA graph alike.

Knows token ids and scores; knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from gloss.errors import ConfigError

__all__ = ["BeamSettings", "BeamState", "Candidates", "Hypothesis", "advance", "best_candidates"]

# transformers marks "cannot be chosen" by adding this to a score; equality needs the same number.
_NEVER = -1.0e9


@dataclass(frozen=True, slots=True)
class BeamSettings:
    """beams: searched; returned: kept, at most `beams`; max_new_tokens: end included.

    length_penalty: a finished score is the sum of log-probabilities over length ** length_penalty;
    0 is the probability itself, 1 what transformers defaults to. end: the end-of-text token.
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

    Twice as many as beams, so that enough remain running when every beam ends. scores: of the
    whole sequence; parents: the beam continued; nodes: where a trie is then, unused without one.
    """

    scores: torch.Tensor
    parents: torch.Tensor
    tokens: torch.Tensor
    nodes: torch.Tensor


@dataclass(frozen=True, slots=True)
class BeamState:
    """Where the search stands for each user.

    running: (users, beams, steps) tokens; scores, nodes: (users, beams). finished, lengths,
    finished_scores, is_finished: the same for beams that ended. improvable: (users,) whether a
    running beam could still beat a finished one. taken: (users,) tokens taken so far.
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
        kept = self.finished_scores[:, : settings.returned].tolist()
        lengths = self.lengths.tolist()
        tokens = self.finished.tolist()
        return [
            tuple(
                Hypothesis(tuple(tokens[user][place][: lengths[user][place]]), score)
                for place, score in enumerate(scores)
                if score > _NEVER / 2
            )
            for user, scores in enumerate(kept)
        ]


def best_candidates(
    state: BeamState,
    settings: BeamSettings,
    log_probs: torch.Tensor,
    tokens: torch.Tensor,
    nodes: torch.Tensor,
) -> Candidates:
    """The best of each beam's own continuations, over all beams of a user.

    log_probs, tokens, nodes: (users, rows, n); rows is beams, or 1 before the first token. -inf
    marks what cannot follow.
    """
    users, rows, width = log_probs.shape
    totals = (log_probs + state.scores[:, :rows, None]).view(users, -1)
    wanted = 2 * settings.beams
    scores, places = totals.topk(min(wanted, totals.shape[1]))
    missing = wanted - scores.shape[1]
    if missing:
        scores = torch.nn.functional.pad(scores, (0, missing), value=-torch.inf)
        places = torch.nn.functional.pad(places, (0, missing))
    return Candidates(
        scores,
        places // width,
        tokens.reshape(users, -1).gather(1, places),
        nodes.reshape(users, -1).gather(1, places),
    )


def advance(
    state: BeamState, found: Candidates, settings: BeamSettings, *, cut_off: bool
) -> tuple[BeamState, torch.Tensor]:
    """Take one more token everywhere; also returns each running beam's parent, (users, beams).

    cut_off: whether sequences that reach the last step count as finished although they did not end.
    """
    steps = state.running.shape[2]
    last = state.taken.clamp_max(steps - 1)
    sequences = _pick(state.running, found.parents)
    place = last[:, None, None].expand(-1, sequences.shape[1], 1)
    sequences = sequences.scatter(2, place, found.tokens[:, :, None])
    ended = (found.tokens == settings.end) & (found.scores > -torch.inf)
    stops = ended | (last + 1 == steps)[:, None] if cut_off else ended
    open_scores = found.scores + stops * _NEVER
    scores, order = open_scores.topk(settings.beams)
    finished = _collect(state, found.scores, sequences, stops, ended, last, settings)
    taken = state.taken + 1
    best = scores[:, 0] / taken**settings.length_penalty
    worst = finished["finished_scores"].amin(1, keepdim=True)
    worst = torch.where(finished["is_finished"], worst, _NEVER)
    improvable = state.improvable & (best[:, None] > worst).any(1)
    after = BeamState(
        running=_pick(sequences, order),
        scores=scores,
        nodes=found.nodes.gather(1, order),
        improvable=improvable,
        taken=taken,
        **finished,
    )
    return after, found.parents.gather(1, order)


def _collect(
    state: BeamState,
    scores: torch.Tensor,
    sequences: torch.Tensor,
    stops: torch.Tensor,
    ended: torch.Tensor,
    last: torch.Tensor,
    settings: BeamSettings,
) -> dict[str, torch.Tensor]:
    """Let candidates that stop among the best `beams` compete with those that finished before."""
    among_best = torch.arange(stops.shape[1], device=stops.device) < settings.beams
    stops = stops & among_best
    final = scores / (last + 1)[:, None] ** settings.length_penalty
    final = final + (~state.improvable)[:, None] * _NEVER + ~stops * _NEVER
    merged = torch.cat([state.finished_scores, final], dim=1)
    finished_scores, order = merged.topk(settings.beams)
    # The end token is not part of a title; a beam that was cut off has none.
    length = torch.where(ended, last[:, None], last[:, None] + 1)
    return {
        "finished": _pick(torch.cat([state.finished, sequences], dim=1), order),
        "lengths": torch.cat([state.lengths, length], dim=1).gather(1, order),
        "finished_scores": finished_scores,
        "is_finished": torch.cat([state.is_finished, stops], dim=1).gather(1, order),
    }


def _pick(values: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """values (users, n, length) at order (users, m): (users, m, length)."""
    return values.gather(1, order[:, :, None].expand(-1, -1, values.shape[2]))
