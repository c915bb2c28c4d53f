"""Rankers as the teacher of a language model: items drawn by what several of them know together.

With rankers r of weights w_r, a history h and the c best items C of

    s(j) = Σ_r w_r · log p_r(j | h)

over the items j that are not in h (with `bought`, over all), the next item is drawn with
p(j) = softmax_{j in C}(s(j)). Needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from gloss.arrays import Ints
from gloss.config import Distillation
from gloss.rankers.ranker import NextItems
from gloss.training.sequences import pad_sequences

__all__ = ["RankersTeach"]

_BATCH_BYTES = 2**27
"""Of the scores of the whole catalogue that are held at once."""

_BOUGHT = -1.0e9
"""The score of what stands in the history: drawn only where the catalogue holds nothing else."""


class RankersTeach:
    """A `Teacher` made of rankers. items: of the catalogue."""

    def __init__(
        self,
        rankers: Sequence[NextItems],
        settings: Distillation,
        *,
        items: int,
        device: torch.device,
    ) -> None:
        self._rankers = rankers
        self._weights = settings.weights or (1.0,) * len(rankers)
        self._candidates = min(settings.candidates, items)
        self._draws_bought = bool(settings.bought)
        self._batch = max(1, _BATCH_BYTES // (4 * items))
        self._device = device

    def draw(self, histories: Sequence[Ints], titles: int, *, seed: Sequence[int]) -> Ints:
        """See `Teacher.draw`."""
        number = int(np.random.SeedSequence(seed).generate_state(1)[0])
        generator = torch.Generator(self._device).manual_seed(number)
        parts = (
            histories[first : first + self._batch]
            for first in range(0, len(histories), self._batch)
        )
        drawn = [self._drawn(part, titles, generator) for part in parts]
        return np.concatenate([np.empty((0, titles), np.int64), *drawn])

    @torch.no_grad()
    def _drawn(self, histories: Sequence[Ints], titles: int, generator: torch.Generator) -> Ints:
        rows, mask = pad_sequences(histories, self._device)
        counts = mask.sum(1)  # (histories,)
        rows = torch.nn.functional.pad(rows, (0, titles))  # room for what is drawn
        for _ in range(titles):
            scores, items = self._scores(rows, counts).topk(self._candidates)
            place = torch.multinomial(scores.softmax(1), 1, generator=generator)
            rows.scatter_(1, counts[:, None], items.gather(1, place))
            counts = counts + 1
        back = torch.arange(-titles, 0, device=self._device)
        drawn: Ints = rows.gather(1, counts[:, None] + back).cpu().numpy()
        return drawn

    def _scores(self, rows: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """(histories, catalogue): s(j)."""
        parts = (
            weight * ranker.next_log_probabilities(rows, counts)
            for weight, ranker in zip(self._weights, self._rankers, strict=True)
        )
        scores = torch.stack(list(parts)).sum(0)
        if self._draws_bought:
            return scores
        is_bought = torch.arange(rows.shape[1], device=rows.device) < counts[:, None]
        # What is no purchase stands for the first one.
        return scores.scatter(1, torch.where(is_bought, rows, rows[:, :1]), _BOUGHT)
