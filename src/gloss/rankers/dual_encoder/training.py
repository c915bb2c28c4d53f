"""Teach a sentence encoder what is bought after what, with the whole catalogue as the softmax.

A purchase asks for what comes after it: its title's vector, turned by a matrix that is learned
(what is bought next need not be what is alike), has to be nearer to the next title's vector than to
any other. What no title says of itself is learned besides: two vectors of its own, one added to
what a purchase of it asks for and one to itself as an answer. A user is a mixture of the last
purchases: each decides with a probability that is learned as well, from its age and its title. All
titles are encoded again in every step, so each is an answer or a wrong answer to every purchase; a
large catalogue, or a small machine, takes those of the step and some drawn ones beside them. Knows
data sets and encoders; no index.

    an ordinary sentence-transformers folder    modules.json, model.safetensors, …
    taught.npz                                  what was learned besides
    (rankers/dual_encoder/embeddings.py)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from gloss.artifacts import Draft
from gloss.data.catalogue import Catalogue
from gloss.data.histories import History
from gloss.errors import InputError
from gloss.progress import Progress, silent
from gloss.rankers.dual_encoder.embeddings import write_taught
from gloss.rankers.dual_encoder.network import Network
from gloss.rankers.dual_encoder.settings import DualEncoderSettings
from gloss.rankers.ranker import CHECKPOINTS
from gloss.retrieval.dense.encoders import Encoder, open_encoder
from gloss.training.epochs import (
    BETAS,
    Array,
    HistoryLengthWeighting,
    train_epochs,
)

__all__ = ["tune_encoder"]

_LONGEST = 51
"""Purchases of a history that are read: the last ones."""


def tune_encoder(
    draft: Draft,
    start: Encoder,
    train: Sequence[History],
    catalogue: Catalogue,
    *,
    settings: DualEncoderSettings,
    seed: int,
    progress: Progress = silent,
) -> None:
    """Fine-tune an encoder on the training histories, into a draft of the kind `TAUGHT`.

    The folder is an encoder as `open_encoder` takes it, and keeps the prefixes. Goes on from where
    an interrupted training stopped. progress counts steps. Raises InputError when no user has two
    purchases, or all items have one title, and what `Encoder.model` raises.
    """
    titles = sorted({item.title for item in catalogue})
    if len(titles) < 2:
        raise InputError("there is nothing to tell apart: all items have the same title")
    places = {title: place for place, title in enumerate(titles)}
    items = np.array([places[item.title] for item in catalogue], np.int64)
    rows = _rows(train, catalogue, items)
    torch.manual_seed(seed)
    model = start.model()
    read = [start.prefixes.document + title for title in titles]
    network = Network(
        model, read, settings, HistoryLengthWeighting(rows, settings.history_length_power)
    )
    losses = train_epochs(
        network,
        torch.optim.AdamW(network.groups(), betas=BETAS, weight_decay=0.0),
        rows,
        network.loss,
        epochs=settings.epochs,
        users=settings.batch_users,
        seed=seed,
        checkpoint=draft.path / CHECKPOINTS / "encoder.pt",
        progress=progress,
    )
    model.prompts = {"query": start.prefixes.query, "document": start.prefixes.document}
    model.save_pretrained(str(draft.path), create_model_card=False)
    vectors = open_encoder(str(draft.path)).encode(titles, role="document")
    write_taught(network.taught(vectors, items), draft.path)
    draft.summary.update(
        {
            "histories": len(rows),
            "titles": len(titles),
            "parameters": sum(w.numel() for w in network.parameters() if w.requires_grad),
            "loss": round(losses[-1]["loss"], 4),
        }
    )


def _rows(train: Sequence[History], catalogue: Catalogue, titles: Array) -> list[Array]:
    """The histories as rows of titles. titles: int64 (catalogue,), the title of each item."""
    rows = [
        titles[[catalogue.row(item) for item in history.items[-_LONGEST:]]]
        for history in train
        if len(history.items) > 1
    ]
    if not rows:
        raise InputError("there is nothing to learn from: no user has two purchases or more")
    return rows
