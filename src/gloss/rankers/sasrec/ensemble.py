"""Trained SASRec networks whose predictions are averaged. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from gloss.arrays import Array
from gloss.data.catalogue import Catalogue
from gloss.data.histories import History
from gloss.rankers.sasrec.network import Network
from gloss.rankers.scoring import rows_of
from gloss.training.sequences import pad_sequences

__all__ = ["Ensemble"]


class Ensemble:
    """Networks that were trained with different seeds; their item vectors are made here, once.

    vectors: float32 (catalogue, width), of the first network, each of length 1.
    """

    @torch.no_grad()
    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = [network.eval() for network in networks]
        self._item_vectors = [network.item_vectors() for network in networks]
        self.vectors: Array = functional.normalize(self._item_vectors[0], dim=-1).cpu().numpy()

    @torch.no_grad()
    def log_probabilities(self, histories: Sequence[History], catalogue: Catalogue) -> Array:
        """float32 (histories, catalogue): the mean over the networks of log p(next item | history).

        No history may be empty.
        """
        purchases = [rows_of(history.items, catalogue) for history in histories]
        total = torch.zeros(())
        for network, item_vectors in zip(self._networks, self._item_vectors, strict=True):
            rows, mask = pad_sequences(
                [rows[-network.length :] for rows in purchases], item_vectors.device
            )
            users = torch.arange(len(rows), device=rows.device)
            hidden = network(rows, item_vectors)[users, mask.sum(1) - 1]  # (histories, width)
            total = total + functional.log_softmax(hidden @ item_vectors.T, dim=-1).cpu()
        mean: Array = (total / len(self._networks)).numpy()
        return mean

    @torch.no_grad()
    def next_log_probabilities(self, rows: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """The same, on the networks' device; see `NextItems`."""
        parts = [
            _next_logits(network, item_vectors, rows, counts).log_softmax(-1)
            for network, item_vectors in zip(self._networks, self._item_vectors, strict=True)
        ]
        return torch.stack(parts).mean(0)


def _next_logits(
    network: Network, item_vectors: torch.Tensor, rows: torch.Tensor, counts: torch.Tensor
) -> torch.Tensor:
    """(histories, catalogue), of histories padded on the right, of which the last purchases are
    read."""
    length = min(network.length, rows.shape[1])
    first = (counts - length).clamp(min=0)  # (histories,)
    places = first[:, None] + torch.arange(length, device=rows.device)
    read = rows.gather(1, places.clamp(max=rows.shape[1] - 1))  # (histories, length)
    users = torch.arange(len(rows), device=rows.device)
    hidden: torch.Tensor = network(read, item_vectors)[users, counts - first - 1]
    return hidden @ item_vectors.T
