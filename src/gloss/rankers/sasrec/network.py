"""SASRec's network: a small causal transformer over items.

Kang and McAuley, ICDM 2018. An item's vector is its own embedding plus a linear map of its title's
sentence vector, so that rarely bought items start near similar ones. The same vectors are read and
predicted.

Needs torch.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gloss.data.catalogue import Catalogue
from gloss.rankers.sasrec.settings import SASRecSettings
from gloss.rankers.scoring import Array
from gloss.training.epochs import embedding_lookup

__all__ = ["Network", "count_parameters", "device_named", "load_network", "save_network"]

_SPREAD = 0.02


class Network(nn.Module):
    """Rows of items in, a vector for each place out that is near the next item's.

    vectors: float32 (catalogue, any width) of the titles, or None.
    """

    def __init__(self, items: int, vectors: Array | None, settings: SASRecSettings) -> None:
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
    settings: SASRecSettings,
    device: str | None = None,
) -> Network:
    """Read what `save_network` wrote."""
    network = Network(len(catalogue), vectors, settings)
    network.load_state_dict(load_file(file))
    return network.to(device_named(device)).eval()


def device_named(name: str | None) -> torch.device:
    """The device of that name; without one, a GPU if there is one."""
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
