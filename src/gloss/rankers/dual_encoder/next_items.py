"""The dual encoder's mixture (embeddings.py) on a device, for whole batches. Needs torch."""

from __future__ import annotations

import torch

from gloss.rankers.dual_encoder.embeddings import DualEncoderEmbeddings
from gloss.training.sequences import embedding_lookup

__all__ = ["DualEncoderNextItems"]

_LEAST = 1e-12
"""A probability below this counts as this."""


class DualEncoderNextItems:
    """log p(j | h) of all items; see `NextItems`. repeats: whether a title may follow itself."""

    def __init__(
        self, embeddings: DualEncoderEmbeddings, device: torch.device, *, repeats: bool = False
    ) -> None:
        self._repeats = repeats
        self._title_rows = torch.from_numpy(embeddings.title_rows).to(device)
        self._queries = torch.from_numpy(embeddings.query_embeddings).to(device)
        self._items = torch.from_numpy(embeddings.item_embeddings).to(device)
        self._gate_logits = torch.from_numpy(embeddings.gate_logits).to(device)
        self._recency_logits = torch.from_numpy(embeddings.recency_logits).to(device)

    def next_log_probabilities(self, rows: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """See `NextItems.next_log_probabilities`."""
        ages = torch.arange(len(self._recency_logits), device=rows.device)
        places = counts[:, None] - 1 - ages  # (histories, recent), the last purchase first
        titles = self._title_rows[rows.gather(1, places.clamp(min=0))]  # (histories, recent)
        logits = self._gate_logits[titles] + self._recency_logits
        gates = torch.where(places >= 0, logits, -torch.inf).softmax(1)
        # Each title is looked up once for all users who bought it.
        distinct, inverse = titles.unique(return_inverse=True)
        weights = gates.new_zeros(len(rows), len(distinct)).scatter_add_(1, inverse, gates)
        next_titles = weights @ self._next_given(distinct)  # (histories, titles)
        return next_titles.clamp_min(_LEAST).log()[:, self._title_rows]

    def _next_given(self, titles: torch.Tensor) -> torch.Tensor:
        """(some titles, titles): p(j | i)."""
        logits = embedding_lookup(self._queries, titles) @ self._items.T
        if not self._repeats:
            logits.scatter_(1, titles[:, None], -torch.inf)
        return logits.softmax(1)
