"""Training SASRec with the full cross-entropy in place of sampled negatives.

That is what makes it strong: Klenitskiy and Vasilev, RecSys 2023; Petrov and Macdonald, RecSys
2023.

Needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from gloss.data.catalogue import Catalogue
from gloss.data.histories import History
from gloss.errors import InputError
from gloss.progress import Progress, silent
from gloss.rankers.sasrec.full_softmax import FullSoftmax
from gloss.rankers.sasrec.network import Network, device_named
from gloss.rankers.sasrec.settings import SASRecSettings
from gloss.rankers.scoring import Array, rows_of
from gloss.training.epochs import BETAS, HistoryLengthWeighting, train_epochs

__all__ = ["train_network"]


def train_network(
    train: Sequence[History],
    catalogue: Catalogue,
    *,
    vectors: Array | None,
    settings: SASRecSettings,
    seed: int,
    checkpoint: Path,
    device: str | None = None,
    progress: Progress = silent,
) -> tuple[Network, list[dict[str, float]]]:
    """Train on what every history holds; the network, and the loss of each epoch in nats an item.

    All epochs count: neither the one with the least validation loss is kept (on Beauty that is the
    fourth of twelve, with an NDCG@10 of 0.052 where the last has 0.065: confidence overfits long
    before the order does), nor the one that ranks best, which would be chosen on the users that a
    fusion is fitted on. Goes on from `checkpoint` as `gloss.training.epochs` says. Raises
    InputError when no user has two purchases.
    """
    rows = [rows_of(h.items, catalogue)[-settings.length - 1 :] for h in train if len(h.items) > 1]
    if not rows:
        raise InputError("there is nothing to train SASRec on: no user has two purchases or more")
    torch.manual_seed(seed)
    network = Network(len(catalogue), vectors, settings).to(device_named(device))
    losses = train_epochs(
        network,
        torch.optim.Adam(network.parameters(), lr=settings.learning_rate, betas=BETAS),
        rows,
        partial(_loss, network, HistoryLengthWeighting(rows, settings.history_length_power)),
        epochs=settings.epochs,
        users=settings.batch_users,
        seed=seed,
        checkpoint=checkpoint,
        progress=progress,
    )
    return network, losses


def _loss(
    network: Network,
    history_length_power: HistoryLengthWeighting,
    rows: torch.Tensor,
    real: torch.Tensor,
) -> torch.Tensor:
    """Mean cross-entropy over every purchase but a history's first, as much as each counts."""
    items = network.items()
    wanted = real[:, 1:]
    hidden = network(rows[:, :-1], items)[wanted]
    loss: torch.Tensor = FullSoftmax.apply(  # type: ignore[no-untyped-call]
        hidden, items, rows[:, 1:][wanted], history_length_power.of(wanted)
    )
    return loss
