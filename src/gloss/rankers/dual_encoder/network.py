"""An encoder with what is learned besides: what titles ask for, answer to, and which decide.

Needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from gloss.rankers.dual_encoder.embeddings import Taught
from gloss.rankers.dual_encoder.settings import DualEncoderSettings
from gloss.retrieval.dense.encoders import MAX_TOKENS
from gloss.training.epochs import Array, HistoryLengthWeighting, embedding_lookup

__all__ = ["Network"]

_SCALE = 20.0
"""Cosines are multiplied by a number that is learned, from this one on."""

_FEW_RATE = 1e-2
"""The learning rate of the scale and of ages, which are a handful of numbers."""

_HARDLY = -30.0
"""How likely a title is to follow itself, as a logarithm: a history that repeats one still has a
loss."""

_WEIGHT_DECAY = 0.01
"""Of the encoder."""

_AT_ONCE = 1536
"""Titles that go through the encoder together, those of similar length."""

_STEP_OF_LENGTHS = 8


class Network(nn.Module):
    """An encoder, the titles that it reads and what they add, what purchases ask for, and which of
    them decide."""

    def __init__(
        self,
        model: Any,
        titles: Sequence[str],
        settings: DualEncoderSettings,
        history_length_power: HistoryLengthWeighting,
    ) -> None:
        super().__init__()
        self.encoder = model
        width = model.get_embedding_dimension()
        self.turn = nn.Parameter(torch.eye(width))
        learned = settings.own_rate > 0
        self.asking = nn.Parameter(torch.zeros(len(titles), width), requires_grad=learned)
        self.answering = nn.Parameter(torch.zeros(len(titles), width), requires_grad=learned)
        self.scale = nn.Parameter(torch.tensor(math.log(_SCALE)))
        self.decides = nn.Parameter(torch.zeros(width))
        self.ages = nn.Parameter(torch.arange(settings.recent) * math.log(settings.decay))
        self._settings, self._emphasis = settings, history_length_power
        ids = model.tokenizer(list(titles), truncation=True, max_length=MAX_TOKENS)["input_ids"]
        self._lengths = torch.tensor([len(each) for each in ids])
        self._tokens = nn.utils.rnn.pad_sequence(
            [torch.tensor(each) for each in ids],
            batch_first=True,
            padding_value=model.tokenizer.pad_token_id,
        ).to(model.device)
        self.to(model.device)

    def groups(self) -> list[dict[str, Any]]:
        """What an optimizer is told."""
        rate = self._settings.learning_rate
        read = list(self.encoder.parameters())
        return [
            {"params": read, "lr": rate, "weight_decay": _WEIGHT_DECAY},
            {"params": [self.turn, self.decides], "lr": rate},
            {"params": [self.asking, self.answering], "lr": self._settings.own_rate},
            {"params": [self.scale, self.ages], "lr": _FEW_RATE},
        ]

    @torch.no_grad()
    def taught(self, vectors: Array, items: Array) -> Taught:
        """What was learned, as arrays. vectors: float32 (titles, dimension), of the encoder; items:
        int64 (catalogue,), the title of each."""
        read = torch.from_numpy(vectors).to(self.turn.device)
        asking, answering = self._sides(read, self.asking, self.answering)
        return Taught(
            titles=items,
            asking=_array(asking),
            answering=_array(answering),
            weights=_array(read @ self.decides),
            ages=_array(self.ages),
        )

    def loss(self, rows: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy over every purchase but a history's first, as much as each counts,
        nats a title."""
        candidates = self._candidates(rows[real])
        places = torch.searchsorted(candidates, rows).clamp(max=len(candidates) - 1)
        wanted = real[:, 1:]
        purchases, ages = self._before(places, wanted)
        answers = places[:, 1:][wanted][:, None]
        vectors = self._encoded(candidates)
        own = (self._added(each, candidates) for each in (self.asking, self.answering))
        asking, answering = self._sides(vectors, *own)
        odds = (
            embedding_lookup(asking, purchases) @ embedding_lookup(answering, answers).mT
        ).squeeze(-1)
        found = odds - _sums_of(asking, answering, purchases)
        found = torch.where(purchases == answers, _HARDLY, found)
        decides = embedding_lookup((vectors @ self.decides)[:, None], purchases).squeeze(-1) + ages
        nats = -torch.logsumexp(decides.log_softmax(-1) + found, -1)
        return (nats * self._emphasis.of(wanted)).mean()

    def _sides(
        self, vectors: torch.Tensor, asking: torch.Tensor, answering: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What titles ask for, and what they answer to: the encoder's vectors of them, and what
        they have of their own, each (titles, dimension)."""
        return self.scale.exp() * (vectors @ self.turn + asking), vectors + answering

    def _before(
        self, places: torch.Tensor, wanted: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(answers, recent): the last purchases before each wanted one, the last first, and how
        much their ages say; -inf where there is none."""
        users, last = wanted.nonzero(as_tuple=True)
        back = last[:, None] - torch.arange(len(self.ages), device=last.device)
        ages = torch.where(back >= 0, self.ages, -torch.inf)
        return places[users[:, None], back.clamp(min=0)], ages

    def _added(self, own: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        """(candidates, dimension) of what titles have of their own, some of it left out."""
        return functional.dropout(
            embedding_lookup(own, candidates), self._settings.own_dropout, self.training
        )

    def _candidates(self, needed: torch.Tensor) -> torch.Tensor:
        """int64 (candidates,), in order: those of the step, and drawn ones beside them."""
        count = len(self._lengths)
        if count <= self._settings.candidates:
            return torch.arange(count, device=needed.device)
        drawn = torch.randperm(count)[: self._settings.candidates].to(needed.device)
        candidates: torch.Tensor = torch.cat([needed, drawn]).unique()
        return candidates

    def _encoded(self, candidates: torch.Tensor) -> torch.Tensor:
        """float32 (candidates, dimension), rows of length 1."""
        lengths = self._lengths[candidates.cpu()]
        order = lengths.argsort(stable=True)
        parts = [
            self._vectors(candidates[part.to(candidates.device)], lengths[part])
            for part in order.split(_AT_ONCE)
        ]
        vectors = torch.cat(parts)[order.argsort().to(candidates.device)]
        unit: torch.Tensor = functional.normalize(vectors.float(), dim=-1)
        return unit

    def _vectors(self, titles: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        # Few different lengths: memory that one step gave back fits the next.
        longest = -(-int(lengths.max()) // _STEP_OF_LENGTHS) * _STEP_OF_LENGTHS
        ids = self._tokens[titles, :longest]
        read = torch.arange(ids.shape[1]) < lengths[:, None]
        features = {"input_ids": ids, "attention_mask": read.long().to(ids.device)}
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.is_cuda):
            vectors: torch.Tensor = self.encoder(features)["sentence_embedding"]
        return vectors


def _sums_of(
    asking: torch.Tensor, answering: torch.Tensor, purchases: torch.Tensor
) -> torch.Tensor:
    """float32 of the shape of `purchases`: the logarithm of the sum over all that may follow each;
    nothing follows itself."""
    distinct, places = purchases.unique(return_inverse=True)
    odds = embedding_lookup(asking, distinct) @ answering.T
    sums = odds.scatter(1, distinct[:, None], -torch.inf).logsumexp(1)
    return embedding_lookup(sums[:, None], places).squeeze(-1)


def _array(weights: torch.Tensor) -> Array:
    found: Array = weights.detach().cpu().numpy()
    return found
