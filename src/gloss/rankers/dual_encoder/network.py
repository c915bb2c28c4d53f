"""The dual encoder's network: a sentence encoder, and what is learned beside it. Needs torch.

With the encoder's vector t_j of title j, of length 1, the network learns a projection W, a scale s,
residual embeddings a and b of every title, a gate vector u and recency logits r:

    q_i      = s · (W^T t_i + a_i)                       the query embedding of a purchase i
    v_j      = t_j + b_j                                  the item embedding of a title j
    p(j | i) = softmax_{j ≠ i}(q_i · v_j)                over all j with `repeats`
    gate_i   = softmax_i(u · t_i + r_age(i))              over a user's last purchases
    p(j | h) = Σ_i gate_i · p(j | i)

W is there because what is bought next need not be what is alike; the residual embeddings hold what
no title says of itself; the mixture, because a mean of the last purchases would look for something
between them. The loss is -log p(next title | history), over all titles: they are encoded again in
every step, and each is a negative for every other. For a large catalogue, or a small machine, the
softmax is over the titles of the step's histories and some drawn ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from gloss.arrays import Array, Ints
from gloss.rankers.dual_encoder.embeddings import DualEncoderEmbeddings, TextMap
from gloss.rankers.dual_encoder.log_partition import log_partition
from gloss.rankers.dual_encoder.settings import DualEncoderSettings
from gloss.retrieval.dense.encoders import MAX_TOKENS
from gloss.training.data_parallel import drawn_for_all, gather_rows, own_part
from gloss.training.histories import HistoryLengthWeighting
from gloss.training.sequences import embedding_lookup

__all__ = ["Network"]

_INITIAL_SCALE = 20.0
"""s before training. Products of vectors of length 1 alone make too flat a softmax."""

_SCALAR_LEARNING_RATE = 1e-2
"""Of the scale and the recency logits: a handful of numbers, which have further to go."""

_ENCODER_WEIGHT_DECAY = 0.01

_REPEAT_LOG_PROBABILITY = -30.0
"""log p(i | i), in place of -inf: a history that repeats a title still has a loss."""

_MAX_TITLES_PER_PASS = 1536
"""Titles that go through the encoder together."""

_LENGTH_MULTIPLE = 8
"""Titles are padded to multiples of this many tokens: the shapes are few then, and memory that one
step gave back fits the next."""


class Network(nn.Module):
    """The module's parameters, and the tokens of all titles, on the encoder's device.

    model: a SentenceTransformer; titles: distinct, as the encoder reads them.
    """

    def __init__(
        self,
        model: Any,
        titles: Sequence[str],
        settings: DualEncoderSettings,
        weighting: HistoryLengthWeighting,
    ) -> None:
        super().__init__()
        self.encoder = model
        width = model.get_embedding_dimension()
        self.projection = nn.Parameter(torch.eye(width))
        learned = settings.residual_learning_rate > 0
        shape = len(titles), width
        self.query_residuals = nn.Parameter(torch.zeros(shape), requires_grad=learned)
        self.item_residuals = nn.Parameter(torch.zeros(shape), requires_grad=learned)
        self.log_scale = nn.Parameter(torch.tensor(math.log(_INITIAL_SCALE)))
        self.gate_vector = nn.Parameter(torch.zeros(width))
        self.recency_logits = nn.Parameter(
            torch.arange(settings.recent) * math.log(settings.decay)
        )  # (recent,), of the last purchase, the one before, …
        self._settings, self._weighting = settings, weighting
        ids = model.tokenizer(list(titles), truncation=True, max_length=MAX_TOKENS)["input_ids"]
        self._lengths = torch.tensor([len(each) for each in ids])  # (titles,)
        self._tokens = nn.utils.rnn.pad_sequence(
            [torch.tensor(each) for each in ids],
            batch_first=True,
            padding_value=model.tokenizer.pad_token_id,
        ).to(model.device)  # (titles, longest)
        self.to(model.device)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """An optimizer's groups, each with its learning rate."""
        rate = self._settings.learning_rate
        residuals = [self.query_residuals, self.item_residuals]
        return [
            {
                "params": list(self.encoder.parameters()),
                "lr": rate,
                "weight_decay": _ENCODER_WEIGHT_DECAY,
            },
            {"params": [self.projection, self.gate_vector], "lr": rate},
            {"params": residuals, "lr": self._settings.residual_learning_rate},
            {"params": [self.log_scale, self.recency_logits], "lr": _SCALAR_LEARNING_RATE},
        ]

    @torch.no_grad()
    def begin_from(
        self, embeddings: DualEncoderEmbeddings, text_map: TextMap, vectors: Array, rows: Ints
    ) -> None:
        """Take over what an earlier network has learned beside its encoder.

        vectors: float32 (titles, width), t by the encoder as it was saved then; rows: int64
        (titles,), of each title there, -1 for a new one, whose residual embeddings stay 0. The
        formula is solved for what is not kept by itself: of s · W only the product is, and s is
        taken as the mean of its diagonal, as W begins as the identity:

            a_i = q_i / s - W^T t_i,   b_j = v_j - t_j
        """
        scale = max(float(np.diag(text_map.projection).mean()), 1.0)
        projection = text_map.projection / scale  # (width, width)
        is_known = rows >= 0
        old, known = rows[is_known], vectors[is_known]
        self.log_scale.fill_(math.log(scale))
        self.projection.copy_(torch.from_numpy(projection))
        self.gate_vector.copy_(torch.from_numpy(text_map.gate_vector))
        self.recency_logits.copy_(torch.from_numpy(embeddings.recency_logits))
        for weights, residuals in (
            (
                self.query_residuals,
                embeddings.query_embeddings[old] / scale - known @ projection,
            ),
            (self.item_residuals, embeddings.item_embeddings[old] - known),
        ):
            weights[torch.from_numpy(is_known).to(weights.device)] = torch.from_numpy(residuals).to(
                weights.device
            )

    @torch.no_grad()
    def embeddings(self, title_vectors: Array, title_rows: Array) -> DualEncoderEmbeddings:
        """What was learned, as arrays. title_vectors: float32 (titles, width), of the trained
        encoder; title_rows: int64 (catalogue,), the title of each item."""
        vectors = torch.from_numpy(title_vectors).to(self.projection.device)
        queries, items = self._embedded(vectors, self.query_residuals, self.item_residuals)
        return DualEncoderEmbeddings(
            title_rows=title_rows,
            query_embeddings=_to_numpy(queries),
            item_embeddings=_to_numpy(items),
            gate_logits=_to_numpy(vectors @ self.gate_vector),
            recency_logits=_to_numpy(self.recency_logits),
        )

    @torch.no_grad()
    def text_map(self) -> TextMap:
        """How titles are embedded that were not trained on."""
        projection = self.log_scale.exp() * self.projection
        return TextMap(_to_numpy(projection), _to_numpy(self.gate_vector))

    def loss(self, rows: torch.Tensor, mask: torch.Tensor, own: list[int]) -> torch.Tensor:
        """Mean of w · -log p(target | history) over all targets of this process's histories, in
        nats a title; w is the weighting of history lengths.

        rows: int64 (histories, purchases) of titles, padded on the right; mask: of real ones; own:
        this process's histories. All purchases but a history's first are targets. The candidates
        are those of all histories.
        """
        candidates = self._candidates(rows[mask])  # (candidates,)
        rows, mask = rows[own], mask[own]
        candidate_rows = torch.searchsorted(candidates, rows).clamp(max=len(candidates) - 1)
        is_target = mask[:, 1:]  # (histories, purchases - 1)
        # (targets, recent) each
        purchases, recency_logits = self._purchases_before(candidate_rows, is_target)
        targets = candidate_rows[:, 1:][is_target][:, None]  # (targets, 1)

        vectors = self._encoded(candidates)  # (candidates, width)
        residuals = (
            self._residuals(weights, candidates)
            for weights in (self.query_residuals, self.item_residuals)
        )
        queries, items = self._embedded(vectors, *residuals)  # (candidates, width) each

        # (targets, recent, width) · (targets, width, 1) -> (targets, recent)
        target_logits = (
            embedding_lookup(queries, purchases) @ embedding_lookup(items, targets).mT
        ).squeeze(-1)
        repeats = bool(self._settings.repeats)
        log_p = target_logits - log_partition(queries, items, purchases, repeats=repeats)
        if not repeats:
            log_p = torch.where(purchases == targets, _REPEAT_LOG_PROBABILITY, log_p)
        title_logits = embedding_lookup((vectors @ self.gate_vector)[:, None], purchases)
        gate_logits = title_logits.squeeze(-1) + recency_logits
        nats = -torch.logsumexp(gate_logits.log_softmax(-1) + log_p, -1)  # (targets,)
        return (nats * self._weighting.weights(is_target)).mean()

    def _embedded(
        self, vectors: torch.Tensor, query_residuals: torch.Tensor, item_residuals: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """q and v of titles, each (titles, width); vectors: t of the same titles."""
        queries = self.log_scale.exp() * (vectors @ self.projection + query_residuals)
        return queries, vectors + item_residuals

    def _purchases_before(
        self, candidate_rows: torch.Tensor, is_target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The last purchases before each target, the last first, and their recency logits, -inf
        where a history is shorter; each (targets, recent).

        A history a b c, with two recent purchases, has the targets b and c:

            target b    a  (none)        target c    b  a
        """
        users, last = is_target.nonzero(as_tuple=True)  # target number k + 1 follows purchase k
        back = last[:, None] - torch.arange(len(self.recency_logits), device=last.device)
        logits = torch.where(back >= 0, self.recency_logits, -torch.inf)
        return candidate_rows[users[:, None], back.clamp(min=0)], logits

    def _residuals(self, weights: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        """Residual embeddings of titles after dropout, (candidates, width)."""
        return functional.dropout(
            embedding_lookup(weights, candidates), self._settings.residual_dropout, self.training
        )

    def _candidates(self, needed: torch.Tensor) -> torch.Tensor:
        """The titles of a step's softmax, int64 (candidates,), ascending: all, or, where there are
        more than `candidates`, as many drawn ones besides those that are needed."""
        titles = len(self._lengths)
        if titles <= self._settings.candidates:
            return torch.arange(titles, device=needed.device)
        drawn = torch.randperm(titles)[: self._settings.candidates].to(needed.device)
        candidates: torch.Tensor = torch.cat([needed, drawn]).unique()
        return candidates

    def _encoded(self, candidates: torch.Tensor) -> torch.Tensor:
        """t of titles, float32 (candidates, width). Titles of similar length are encoded together,
        so that little is padded; of several processes each encodes a part of every pass."""
        lengths = self._lengths[candidates.cpu()]
        order = lengths.argsort(stable=True)
        parts, places = [], []
        for titles in order.split(_MAX_TITLES_PER_PASS):
            own = own_part(lengths[titles].tolist(), [1] * len(titles))
            encoded = self._sentence_vectors(candidates, lengths, titles, own.rows)
            parts.append(encoded * (own.weight > 0))  # without a title, the first one adds nothing
            places.append(titles[own.rows])
        vectors = gather_rows(torch.cat(parts).float(), torch.cat(places), len(candidates))
        unit: torch.Tensor = functional.normalize(vectors, dim=-1)
        return unit

    def _sentence_vectors(
        self, candidates: torch.Tensor, lengths: torch.Tensor, titles: torch.Tensor, own: list[int]
    ) -> torch.Tensor:
        """(own, width), of any length, of this process's titles among those of a pass.

        lengths: of the candidates' tokens, on the CPU; titles: of the pass, places in candidates.
        """
        longest = -(-int(lengths[titles].max()) // _LENGTH_MULTIPLE) * _LENGTH_MULTIPLE
        read = titles[own]
        ids = self._tokens[candidates[read.to(candidates.device)], :longest]  # (own, longest)
        mask = torch.arange(ids.shape[1]) < lengths[read][:, None]
        features = {"input_ids": ids, "attention_mask": mask.long().to(ids.device)}
        with (
            torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.is_cuda),
            drawn_for_all(own, len(titles), axis=0),
        ):
            vectors: torch.Tensor = self.encoder(features)["sentence_embedding"]
        return vectors


def _to_numpy(weights: torch.Tensor) -> Array:
    array: Array = weights.detach().cpu().numpy()
    return array
