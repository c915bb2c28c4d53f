"""Trained SASRec networks that are asked together. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from gloss.data.catalogue import Catalogue
from gloss.data.histories import History
from gloss.rankers.sasrec.network import Network
from gloss.rankers.scoring import Array, rows_of
from gloss.training.epochs import pad_sequences

__all__ = ["Ensemble"]


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
    def log_probabilities(self, histories: Sequence[History], catalogue: Catalogue) -> Array:
        """float32 (histories, catalogue): the mean over the networks of log P(next item | history).

        No history may be empty.
        """
        total = torch.zeros(())
        for network, items in zip(self._networks, self._items, strict=True):
            rows, real = pad_sequences(
                [rows_of(h.items, catalogue)[-network.length :] for h in histories], items.device
            )
            places = torch.arange(len(rows), device=rows.device)
            last = network(rows, items)[places, real.sum(1) - 1]
            total = total + functional.log_softmax(last @ items.T, dim=-1).cpu()
        mean: Array = (total / len(self._networks)).numpy()
        return mean
