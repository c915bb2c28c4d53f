"""SASRec: a small causal transformer over items, trained with the whole catalogue as the softmax.

Kang and McAuley, ICDM 2018, with the full cross-entropy in place of sampled negatives (which is
what makes it strong: Klenitskiy and Vasilev, RecSys 2023; Petrov and Macdonald, RecSys 2023). An
item's vector is its own embedding plus a linear map of its title's sentence vector, so that rarely
bought items start near similar ones. The same vectors are read and predicted.

Needs torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from gloss.config import SASRec
from gloss.data.catalogue import Catalogue
from gloss.data.histories import History, Question
from gloss.errors import InputError
from gloss.progress import Progress, silent
from gloss.rankers.scoring import Array, Scored, each_best, products, rows_of
from gloss.rankings.table import RankingTable
from gloss.training.epochs import (
    BETAS,
    HistoryLengthWeighting,
    embedding_lookup,
    pad_sequences,
    train_epochs,
)

__all__ = [
    "Ensemble",
    "Network",
    "count_parameters",
    "load_network",
    "sasrec",
    "save_network",
    "train_network",
]

_CHUNK_CPU, _CHUNK_GPU = 256, 8192
"""Positions whose scores for the whole catalogue are held at once; on a CPU they fit its cache."""

_SPREAD = 0.02
_SCORED_USERS = 512


class Network(nn.Module):
    """Rows of items in, a vector for each place out that is near the next item's.

    vectors: float32 (catalogue, any width) of the titles, or None.
    """

    def __init__(self, items: int, vectors: Array | None, settings: SASRec) -> None:
        super().__init__()
        self.length = settings.length
        self.scale = settings.width**0.5
        self.own = nn.Embedding(items, settings.width)
        self.places = nn.Embedding(settings.length, settings.width)
        self.text: nn.Linear | None = None
        if vectors is not None:
            self.text = nn.Linear(vectors.shape[1], settings.width, bias=False)
            self.register_buffer("titles", torch.from_numpy(vectors), persistent=False)
        for weights in self.parameters():
            nn.init.normal_(weights, std=_SPREAD)
        self.dropout = nn.Dropout(settings.dropout)
        self.layers = nn.TransformerEncoder(
            _layer(settings),
            settings.layers,
            nn.LayerNorm(settings.width),
            enable_nested_tensor=False,
        )

    def items(self) -> torch.Tensor:
        """(catalogue, width)."""
        if self.text is None:
            return self.own.weight
        vectors: torch.Tensor = self.own.weight + self.text(self.get_buffer("titles"))
        return vectors

    def forward(self, rows: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """(users, places) of rows, padded on the right with any -> (users, places, width)."""
        places = rows.shape[1]
        seen = self.dropout(
            embedding_lookup(items, rows) * self.scale + self.places.weight[:places]
        )
        later = torch.ones(places, places, dtype=torch.bool, device=rows.device).triu(1)
        hidden: torch.Tensor = self.layers(seen, mask=later, is_causal=True)
        return hidden


def train_network(
    train: Sequence[History],
    catalogue: Catalogue,
    *,
    vectors: Array | None,
    settings: SASRec,
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
    network = Network(len(catalogue), vectors, settings).to(_device(device))
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


class Ensemble:
    """Trained networks that are asked together. Their items' vectors are made here, once.

    vectors: float32 (catalogue, width), of the first network, each of length 1.
    """

    @torch.no_grad()
    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = [network.eval() for network in networks]
        self._items = [network.items() for network in networks]
        self.vectors: Array = functional.normalize(self._items[0], dim=-1).cpu().numpy()

    @torch.no_grad()
    def log_probabilities(self, questions: Sequence[Question], catalogue: Catalogue) -> Array:
        """float32 (questions, catalogue): the mean over the networks of log P(next item | history).

        No history may be empty.
        """
        total = torch.zeros(())
        for network, items in zip(self._networks, self._items, strict=True):
            rows, real = pad_sequences(
                [rows_of(q.history, catalogue)[-network.length :] for q in questions], items.device
            )
            places = torch.arange(len(rows), device=rows.device)
            last = network(rows, items)[places, real.sum(1) - 1]
            total = total + functional.log_softmax(last @ items.T, dim=-1).cpu()
        mean: Array = (total / len(self._networks)).numpy()
        return mean


def sasrec(
    ensemble: Ensemble,
    questions: Sequence[Question],
    catalogue: Catalogue,
    *,
    length: int,
    exclude_seen: bool,
    progress: Progress = silent,
) -> RankingTable:
    """Each user's list: the items that the networks hold most likely, scored by log-probability.

    An item is there because of the bought one whose vector (of the first network) is most like its
    own. A user without a purchase has an empty list.
    """
    vectors = ensemble.vectors

    def scored(some: Sequence[Question]) -> Iterator[Scored]:
        logs = ensemble.log_probabilities(some, catalogue)
        for question, scores in zip(some, logs, strict=True):
            mine = vectors[rows_of(question.history, catalogue)]
            yield Scored(question.history, scores, partial(products, mine, vectors))

    return each_best(
        scored,
        questions,
        catalogue,
        at_once=_SCORED_USERS,
        length=length,
        exclude_seen=exclude_seen,
        progress=progress,
    )


def save_network(network: Network, file: Path) -> None:
    """Write the weights as safetensors; title vectors are not among them."""
    save_file({name: each.contiguous().cpu() for name, each in network.state_dict().items()}, file)


def count_parameters(file: Path) -> int:
    """How many weights `save_network` wrote."""
    return sum(weights.numel() for weights in load_file(file).values())


def load_network(
    file: Path,
    catalogue: Catalogue,
    *,
    vectors: Array | None,
    settings: SASRec,
    device: str | None = None,
) -> Network:
    """Read what `save_network` wrote."""
    network = Network(len(catalogue), vectors, settings)
    network.load_state_dict(load_file(file))
    return network.to(_device(device)).eval()


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
    loss: torch.Tensor = _FullSoftmax.apply(  # type: ignore[no-untyped-call]
        hidden, items, rows[:, 1:][wanted], history_length_power.of(wanted)
    )
    return loss


class _FullSoftmax(torch.autograd.Function):
    """Weighted cross-entropy of hidden @ items.T in pieces, gradients made on the way.

    The same as the mean of `functional.cross_entropy` times the weights, in half the time on a CPU
    and without the matrix of (positions, catalogue), which is gigabytes on large catalogues.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        items: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor,
    ) -> Any:
        """hidden (positions, width), items (catalogue, width), targets int (positions,), weights
        float (positions,) -> mean."""
        chunk = _CHUNK_GPU if hidden.is_cuda else _CHUNK_CPU
        for_hidden, for_items = torch.empty_like(hidden), torch.zeros_like(items)
        loss = hidden.new_zeros(())
        for first in range(0, len(hidden), chunk):
            here = slice(first, first + chunk)
            some, target, weight = hidden[here], targets[here, None], weights[here, None]
            scores = some @ items.T
            scores -= scores.amax(1, keepdim=True)
            embedding_lookup = scores.gather(1, target)
            sums = scores.exp_().sum(1, keepdim=True)
            loss += (weight * (sums.log() - embedding_lookup)).sum()
            scores.mul_(weight / sums).scatter_add_(1, target, -weight)
            torch.mm(scores, items, out=for_hidden[here])
            for_items.addmm_(scores.T, some)
        ctx.save_for_backward(for_hidden.div_(len(hidden)), for_items.div_(len(hidden)))
        return loss / len(hidden)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Gradients for hidden and items; targets and weights have none."""
        for_hidden, for_items = ctx.saved_tensors
        return for_hidden * gradients[0], for_items * gradients[0], None, None


def _layer(settings: SASRec) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        settings.width,
        settings.heads,
        4 * settings.width,
        settings.dropout,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )


def _device(name: str | None) -> torch.device:
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
