"""Training SASRec, with the full cross-entropy in place of sampled negatives. Needs torch.

The loss is what makes it strong: Klenitskiy and Vasilev, Turning Dross Into Gold Loss, RecSys 2023;
Petrov and Macdonald, gSASRec, RecSys 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from gloss.arrays import Array
from gloss.data.catalogue import Catalogue
from gloss.data.histories import History
from gloss.errors import InputError
from gloss.progress import Progress, silent
from gloss.rankers.sasrec.full_softmax import FullSoftmax
from gloss.rankers.sasrec.network import Network, device_named
from gloss.rankers.sasrec.settings import SASRecSettings
from gloss.rankers.scoring import rows_of
from gloss.training.data_parallel import drawn_for_all
from gloss.training.histories import HistoryLengthWeighting, train_on_histories
from gloss.training.optimization import BETAS

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
    begin: Callable[[Network], None] | None = None,
    progress: Progress = silent,
) -> tuple[Network, list[dict[str, float]]]:
    """Train on the histories; the network, and a row of losses for each epoch (nats a purchase).

    vectors: float32 (catalogue, any width), of the titles, or None. begin: gives the network its
    first weights, in place of random ones. Goes on from `checkpoint` as `gloss.training.loop.train`
    says. Raises InputError when no user has two purchases.
    """
    # The network of the last epoch is kept. The one with the least validation loss is worse: on
    # Beauty that is the fourth of twelve, with an NDCG@10 of 0.052 where the last has 0.065,
    # because confidence overfits long before the order does. And the one that ranks best would be
    # chosen on the users that a fusion is fitted on.
    purchases = settings.length + 1  # one more than is read: the last one is a target only
    rows = [rows_of(h.items, catalogue)[-purchases:] for h in train if len(h.items) > 1]
    if not rows:
        raise InputError("there is nothing to train SASRec on: no user has two purchases or more")
    torch.manual_seed(seed)
    network = Network(len(catalogue), vectors, settings).to(device_named(device))
    if begin:
        begin(network)
    losses = train_on_histories(
        network,
        torch.optim.Adam(network.parameters(), lr=settings.learning_rate, betas=BETAS),
        rows,
        partial(_loss, network, HistoryLengthWeighting(rows, settings.history_length_power)),
        epochs=settings.epochs,
        batch_users=settings.batch_users,
        seed=seed,
        checkpoint=checkpoint,
        progress=progress,
    )
    return network, losses


def _loss(
    network: Network,
    weighting: HistoryLengthWeighting,
    rows: torch.Tensor,
    mask: torch.Tensor,
    own: list[int],
) -> torch.Tensor:
    """Mean weighted cross-entropy over all targets of this process's histories (`HistoryLoss`).

    rows, mask: (histories, purchases).
    """
    histories = len(rows)
    rows, mask = rows[own], mask[own]
    item_vectors = network.item_vectors()
    is_target = mask[:, 1:]  # (histories, purchases - 1)
    with drawn_for_all(own, histories, axis=0):
        hidden = network(rows[:, :-1], item_vectors)[is_target]  # (targets, width)
    targets = rows[:, 1:][is_target]  # (targets,)
    loss: torch.Tensor = FullSoftmax.apply(  # type: ignore[no-untyped-call]
        hidden, item_vectors, targets, weighting.weights(is_target)
    )
    return loss
