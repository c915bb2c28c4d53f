"""Teach a sentence encoder what is bought after what, with the whole catalogue as the softmax.

What a purchase asks for is its title's vector, turned by a matrix that is learned as well: what is
bought next need not be what is alike. A user is the mean of what the last purchases ask for, later
ones counting more, just as `evaluation/baselines/text.py` asks; of all titles that the user has not
bought yet, the next purchase's has to be the nearest. All titles are encoded again in every step,
so each is an answer or a wrong answer to every user; a large catalogue, or a small machine, takes
those of the step and some drawn ones beside them. Knows data sets and encoders; no index.

    an ordinary sentence-transformers folder    modules.json, model.safetensors, …
    vectors.npy                                 float32 (2, catalogue, dimension): of all titles,
                                                and what a purchase of each asks for
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from gloss.artifacts import Draft
from gloss.config import Transitions, Tuning
from gloss.data.catalogue import Catalogue
from gloss.data.histories import History
from gloss.epochs import BETAS, Array, picked, train_epochs
from gloss.errors import InputError
from gloss.progress import Progress, silent
from gloss.retrieval.encoders import MAX_TOKENS, VECTORS, Encoder, open_encoder

__all__ = ["CHECKPOINTS", "tune_encoder"]

CHECKPOINTS = "checkpoints"
"""Where in a draft the state of an unfinished training lies."""

_LONGEST = 51
"""Purchases of a history that are read: the last ones."""

_SCALE, _SCALE_RATE = 20.0, 1e-2
"""Cosines are multiplied by a number that is learned, from this one on and at this rate."""

_WEIGHT_DECAY = 0.01
"""Of the encoder."""

_AT_ONCE = 1536
"""Titles that go through the encoder together, those of similar length."""

_STEP_OF_LENGTHS = 8


def tune_encoder(
    draft: Draft,
    start: Encoder,
    train: Sequence[History],
    catalogue: Catalogue,
    *,
    settings: Tuning,
    asked: Transitions,
    seed: int,
    progress: Progress = silent,
) -> None:
    """Fine-tune an encoder on the training histories, into a draft of the kind `TAUGHT`.

    asked: how many purchases make a user, and how they fade. The folder is an encoder as
    `open_encoder` takes it, and keeps the prefixes. Goes on from where an interrupted training
    stopped. progress counts steps. Raises InputError when no user has two purchases, and what
    `Encoder.model` raises.
    """
    titles = sorted({item.title for item in catalogue})
    rows = _rows(train, catalogue, titles)
    torch.manual_seed(seed)
    model = start.model()
    taught = _Taught(model, [start.prefixes.document + title for title in titles], settings, asked)
    (draft.path / CHECKPOINTS).mkdir(exist_ok=True)
    losses = train_epochs(
        taught,
        torch.optim.AdamW(taught.groups(), betas=BETAS, weight_decay=0.0),
        rows,
        taught.loss,
        epochs=settings.epochs,
        users=settings.batch_users,
        seed=seed,
        checkpoint=draft.path / CHECKPOINTS / "encoder.pt",
        progress=progress,
    )
    model.prompts = {"query": start.prefixes.query, "document": start.prefixes.document}
    model.save_pretrained(str(draft.path), create_model_card=False)
    taught_encoder = open_encoder(str(draft.path))
    vectors = taught_encoder.encode([item.title for item in catalogue], role="document")
    np.save(draft.path / VECTORS, np.stack([vectors, vectors @ taught.turned()]))
    draft.summary.update(
        {"histories": len(rows), "titles": len(titles), "loss": round(losses[-1]["loss"], 4)}
    )


def _rows(train: Sequence[History], catalogue: Catalogue, titles: Sequence[str]) -> list[Array]:
    """The histories as rows of titles."""
    places = {title: place for place, title in enumerate(titles)}
    rows = [
        np.array([places[catalogue.title(item)] for item in history.items[-_LONGEST:]], np.int64)
        for history in train
        if len(history.items) > 1
    ]
    if not rows:
        raise InputError("there is nothing to learn from: no user has two purchases or more")
    return rows


class _Taught(nn.Module):
    """An encoder, the titles that it reads, how purchases ask, and how near answers have to be."""

    def __init__(
        self, model: Any, titles: Sequence[str], settings: Tuning, asked: Transitions
    ) -> None:
        super().__init__()
        self.encoder = model
        width = model.get_embedding_dimension()
        self.turn = nn.Parameter(torch.eye(width, device=model.device))
        self.scale = nn.Parameter(torch.tensor(math.log(_SCALE), device=model.device))
        self._settings, self._asked = settings, asked
        ids = model.tokenizer(list(titles), truncation=True, max_length=MAX_TOKENS)["input_ids"]
        self._lengths = torch.tensor([len(each) for each in ids])
        self._tokens = nn.utils.rnn.pad_sequence(
            [torch.tensor(each) for each in ids],
            batch_first=True,
            padding_value=model.tokenizer.pad_token_id,
        ).to(model.device)

    def groups(self) -> list[dict[str, Any]]:
        """What an optimizer is told."""
        rate = self._settings.learning_rate
        return [
            {
                "params": list(self.encoder.parameters()),
                "lr": rate,
                "weight_decay": _WEIGHT_DECAY,
            },
            {"params": [self.turn], "lr": rate},
            {"params": [self.scale], "lr": _SCALE_RATE},
        ]

    def turned(self) -> Array:
        """float32 (dimension, dimension): a title's vector times this is what its purchase asks
        for."""
        turn: Array = self.turn.detach().cpu().numpy()
        return turn

    def loss(self, rows: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy over every purchase but a history's first, nats a title.

        What a user has bought before is no wrong answer: lists leave it out, and a user's own last
        title would otherwise be the nearest of all.
        """
        candidates = self._candidates(rows[real])
        vectors = self._encoded(candidates)
        places = torch.searchsorted(candidates, rows).clamp(max=len(candidates) - 1)
        wanted = real[:, 1:]
        users = self._fading(rows.shape[1] - 1) @ picked(vectors, places[:, :-1])
        scores = self.scale.exp() * users[wanted] @ self.turn @ vectors.T
        answers = places[:, 1:][wanted]
        right = scores.gather(1, answers[:, None])
        others = scores.scatter(1, _bought(places[:, :-1], wanted), -torch.inf)
        loss: torch.Tensor = functional.cross_entropy(
            others.scatter(1, answers[:, None], right), answers
        )
        return loss

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

    def _fading(self, places: int) -> torch.Tensor:
        """(places, places): how much each purchase counts in the user after each; rows sum to 1."""
        ages = torch.arange(places)[:, None] - torch.arange(places)
        seen = (ages >= 0) & (ages < self._asked.recent)
        weights = torch.where(seen, self._asked.decay ** ages.clamp(min=0), 0.0)
        return (weights / weights.sum(1, keepdim=True)).to(self._tokens.device)


def _bought(places: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """int64 (answers, places): what was bought up to each wanted place, repeated to fill a row."""
    users, last = wanted.nonzero(as_tuple=True)
    until = torch.arange(places.shape[1], device=places.device) <= last[:, None]
    return torch.where(until, places[users], places[users, last][:, None])
