"""SASRec's network: a small causal transformer over items. Needs torch.

Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018. For item j with the sentence
vector t_j of its title, and a history i_1 … i_n:

    v_j = e_j + W · t_j                                        item vectors, (catalogue, width)
    h   = transformer(√width · v_{i_1} + p_1, …, √width · v_{i_n} + p_n)
    p(next = j | i_1 … i_k) = softmax_j(h_k · v_j)

The map W of title vectors is not in the paper: with it, rarely bought items start near similar
ones. The same item vectors are read and predicted.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gloss.arrays import Array, Ints
from gloss.artifacts.content import require
from gloss.data.catalogue import Catalogue
from gloss.rankers.sasrec.settings import SASRecSettings
from gloss.training.sequences import embedding_lookup

__all__ = [
    "Network",
    "begin_from",
    "count_parameters",
    "device_named",
    "load_network",
    "save_network",
]

_INIT_STD = 0.02


class Network(nn.Module):
    """Rows of items in, for each position a vector out whose product with item vectors is the
    logit of the next item.

    title_vectors: float32 (catalogue, any width), or None to do without W.
    """

    def __init__(self, items: int, title_vectors: Array | None, settings: SASRecSettings) -> None:
        super().__init__()
        self.length = settings.length
        self.scale = settings.width**0.5
        self.item_embedding = nn.Embedding(items, settings.width)
        self.position_embedding = nn.Embedding(settings.length, settings.width)
        self.title_projection: nn.Linear | None = None
        if title_vectors is not None:
            self.title_projection = nn.Linear(title_vectors.shape[1], settings.width, bias=False)
            # Not among the saved weights: they come with the index that made them.
            self.register_buffer("titles", torch.from_numpy(title_vectors), persistent=False)
        for weights in self.parameters():
            nn.init.normal_(weights, std=_INIT_STD)
        self.dropout = nn.Dropout(settings.dropout)
        self.layers = nn.TransformerEncoder(
            _layer(settings),
            settings.layers,
            nn.LayerNorm(settings.width),
            enable_nested_tensor=False,
        )

    def item_vectors(self) -> torch.Tensor:
        """v, (catalogue, width)."""
        if self.title_projection is None:
            return self.item_embedding.weight
        vectors: torch.Tensor = self.item_embedding.weight + self.title_projection(
            self.get_buffer("titles")
        )
        return vectors

    def forward(self, rows: torch.Tensor, item_vectors: torch.Tensor) -> torch.Tensor:
        """h, (users, positions, width), of rows (users, positions) of items.

        Rows are padded on the right with any item: no earlier position sees it.
        """
        positions = rows.shape[1]
        vectors = embedding_lookup(item_vectors, rows) * self.scale  # (users, positions, width)
        inputs = self.dropout(vectors + self.position_embedding.weight[:positions])
        # True where a position must not look, which is at later ones; (positions, positions)
        is_hidden = torch.ones(positions, positions, dtype=torch.bool, device=rows.device).triu(1)
        hidden: torch.Tensor = self.layers(inputs, mask=is_hidden, is_causal=True)
        return hidden


def save_network(network: Network, file: Path) -> None:
    """Write the weights as safetensors, without the title vectors."""
    weights = {name: value.contiguous().cpu() for name, value in network.state_dict().items()}
    save_file(weights, file)


def count_parameters(file: Path) -> int:
    """How many weights `save_network` wrote."""
    return sum(weights.numel() for weights in load_file(file).values())


def load_network(
    file: Path,
    catalogue: Catalogue,
    *,
    vectors: Array | None,
    settings: SASRecSettings,
    device: str | None = None,
) -> Network:
    """Read what `save_network` wrote; ValueError for anything else. vectors: those of the titles
    that it was trained with."""
    weights = load_file(file)
    network = Network(len(catalogue), vectors, settings)
    require(
        weights.keys() == network.state_dict().keys(), file, "its weights are another network's"
    )
    require(all(bool(w.isfinite().all()) for w in weights.values()), file, "a weight is no number")
    network.load_state_dict(weights)
    return network.to(device_named(device)).eval()


@torch.no_grad()
def begin_from(network: Network, file: Path, rows: Ints) -> None:
    """Give a network the weights that another one of other items was saved with; ValueError for
    those of another shape.

    rows: int64 (items,), of each item there, -1 for one that it does not have, whose embedding
    stays as it is.
    """
    weights = load_file(file)
    require(
        weights.keys() == network.state_dict().keys(), file, "its weights are another network's"
    )
    embeddings = network.item_embedding.weight.clone().cpu()  # (items, width)
    is_known = torch.from_numpy(rows >= 0)
    embeddings[is_known] = weights["item_embedding.weight"][torch.from_numpy(rows)[is_known]]
    network.load_state_dict({**weights, "item_embedding.weight": embeddings})


def device_named(name: str | None) -> torch.device:
    """The device of that name; without one, a GPU if there is one, or else the CPU."""
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def _layer(settings: SASRecSettings) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        settings.width,
        settings.heads,
        4 * settings.width,
        settings.dropout,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
