"""Training the dual encoder on histories, from a sentence encoder on. Needs torch.

    modules.json, model.safetensors, …    an ordinary sentence-transformers folder
    embeddings.npz                        what was learned beside it (embeddings.py)

Knows data sets and encoders; no index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from gloss.arrays import Array
from gloss.artifacts import Draft
from gloss.data.catalogue import Catalogue
from gloss.data.histories import History
from gloss.errors import InputError
from gloss.language.quiet import quiet_transformers
from gloss.progress import Progress, silent
from gloss.rankers.dual_encoder.embeddings import write_embeddings
from gloss.rankers.dual_encoder.network import Network
from gloss.rankers.dual_encoder.settings import DualEncoderSettings
from gloss.rankers.ranker import CHECKPOINTS
from gloss.rankers.scoring import rows_of
from gloss.retrieval.dense.encoders import Encoder, open_encoder
from gloss.training.histories import HistoryLengthWeighting, train_on_histories
from gloss.training.optimization import BETAS, threads_for_summary
from gloss.training.processes import is_first_process

__all__ = ["train_dual_encoder"]

_MAX_PURCHASES = 51
"""Purchases of a history that are read, the last ones: 50 of them are targets."""


def train_dual_encoder(
    draft: Draft,
    start: Encoder,
    train: Sequence[History],
    catalogue: Catalogue,
    *,
    settings: DualEncoderSettings,
    seed: int,
    begin: Callable[[Network, Sequence[str]], None] | None = None,
    progress: Progress = silent,
) -> None:
    """Train on the histories, into a draft; its folder is an encoder that `open_encoder` takes.

    begin: gives the network for these titles what it knows beside the encoder already. Keeps the
    prefixes of `start`. Goes on from where an interrupted training stopped. progress counts steps.
    Raises InputError when no user has two purchases, or all items have one title, and what
    `Encoder.model` raises.
    """
    titles, title_rows = _distinct_titles(catalogue)
    rows = _title_histories(train, catalogue, title_rows)
    torch.manual_seed(seed)
    model = start.model()
    network = Network(
        model,
        [start.prefixes.document + title for title in titles],
        settings,
        HistoryLengthWeighting(rows, settings.history_length_power),
    )
    if begin:
        begin(network, titles)
    losses = train_on_histories(
        network,
        torch.optim.AdamW(network.parameter_groups(), betas=BETAS, weight_decay=0.0),
        rows,
        network.loss,
        epochs=settings.epochs,
        batch_users=settings.batch_users,
        seed=seed,
        checkpoint=draft.path / CHECKPOINTS / "encoder.pt",
        progress=progress,
    )
    if not is_first_process():
        return
    model.prompts = {"query": start.prefixes.query, "document": start.prefixes.document}
    with quiet_transformers():
        model.save_pretrained(str(draft.path), create_model_card=False)
    # Of the encoder as it was saved, which is what will encode the titles of other catalogues.
    vectors = open_encoder(str(draft.path)).encode(titles, role="document")
    embeddings = network.embeddings(vectors, title_rows)
    write_embeddings(embeddings, network.text_map(), draft.path)
    draft.summary.update(
        {
            "histories": len(rows),
            "titles": len(titles),
            "parameters": sum(w.numel() for w in network.parameters() if w.requires_grad),
            "loss": round(losses[-1]["loss"], 4),
            **threads_for_summary(),
        }
    )


def _distinct_titles(catalogue: Catalogue) -> tuple[list[str], Array]:
    """The distinct titles in order, and int64 (catalogue,), the title of each item."""
    titles = sorted({item.title for item in catalogue})
    if len(titles) < 2:
        raise InputError("there is nothing to tell apart: all items have the same title")
    rows = {title: row for row, title in enumerate(titles)}
    return titles, np.array([rows[item.title] for item in catalogue], np.int64)


def _title_histories(
    train: Sequence[History], catalogue: Catalogue, title_rows: Array
) -> list[Array]:
    """Each history's last purchases as rows of titles, where there are two or more."""
    rows = [
        title_rows[rows_of(history.items[-_MAX_PURCHASES:], catalogue)]
        for history in train
        if len(history.items) > 1
    ]
    if not rows:
        raise InputError("there is nothing to learn from: no user has two purchases or more")
    return rows
