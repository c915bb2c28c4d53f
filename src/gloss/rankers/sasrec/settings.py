"""The settings of SASRec. Needs no torch."""

from __future__ import annotations

from pydantic import Field, model_validator

from gloss.config import (
    Epochs,
    Heads,
    HistoryLength,
    Layers,
    LearningRate,
    Networks,
    Settings,
    Share,
    Users,
    Width,
)

__all__ = ["SASRecSettings"]


class SASRecSettings(Settings):
    """A small transformer over items."""

    networks: Networks = Field(
        1, description="Networks trained with consecutive seeds; log-probabilities are averaged."
    )
    layers: Layers = Field(2, description="Transformer layers.")
    width: Width = Field(64, description="The dimension of item embeddings.")
    heads: Heads = Field(2, description="Attention heads of a layer; they divide `width`.")
    dropout: Share = Field(0.4, description="Dropout of embeddings and layers.")
    length: HistoryLength = Field(50, description="Purchases of a history that are read: the last.")
    text: bool = Field(
        True,
        description="Whether an item's embedding is its own plus a linear map of the sentence "
        "vector of its title, or its own alone.",
    )
    epochs: Epochs = Field(12, description="Passes over all histories.")
    batch_users: Users = Field(128, description="Histories in a training step.")
    learning_rate: LearningRate = Field(2e-3, description="The learning rate of Adam.")
    history_length_power: float = Field(
        0.5,
        ge=0,
        le=2,
        description="A purchase counts in the loss as its history's length to this power.",
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> SASRecSettings:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self
