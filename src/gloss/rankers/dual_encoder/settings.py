"""The settings of the dual encoder."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gloss.config import Epochs, LearningRate, Share, Users
from gloss.rankers.settings import RecentPurchases

__all__ = ["DualEncoderSettings"]


class DualEncoderSettings(RecentPurchases):
    """How a sentence encoder is trained on histories.

    `recent` purchases make a query; `decay` is where the learned weights of their positions start.
    """

    epochs: Epochs = Field(5, description="Passes over all histories.")
    batch_users: Users = Field(256, description="Histories in a training step.")
    candidates: Annotated[int, Field(ge=2, le=10**8)] = Field(
        20_000,
        description="Titles in the softmax of a training step: all of the catalogue where it has "
        "no more, otherwise those of the step and random ones. Bounds memory, by about 2.5 MB a "
        "title on a GPU with the encoder all-MiniLM-L6-v2.",
    )
    learning_rate: LearningRate = Field(1e-3, description="The highest learning rate.")
    residual_learning_rate: float = Field(
        1e-3,
        ge=0,
        le=10,
        description="The learning rate of the residual embeddings: what is added to the encoder's "
        "vector of each title; 0 for none.",
    )
    residual_dropout: Share = Field(0.5, description="Dropout of the residual embeddings.")
    history_length_power: float = Field(
        0.5,
        ge=0,
        le=2,
        description="A purchase counts in the loss as its history's length to this power.",
    )
    repeats: bool | None = Field(
        None,
        description="Whether a purchase may be its own next, so that it is named again (default: "
        "where lists keep what was bought; not in the protocol paper).",
    )
