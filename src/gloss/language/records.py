"""What the manifest of a model folder says. Needs no torch: reports read it too."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_serializer

from gloss.artifacts import ArtifactConfig, ArtifactSummary
from gloss.choices import Backend
from gloss.config import Distillation, ModelSettings, Seed, TrainingSettings
from gloss.data.titles import TitleStyle

__all__ = ["KIND", "ModelConfig", "ModelSummary"]

KIND = "model"


class ModelConfig(ArtifactConfig):
    """How a model was trained. backend: who trained an adapter; None for one from zero.
    distillation: None for a model that had no teacher."""

    omitted_if_none = frozenset({"backend", "distillation"})

    titles: TitleStyle
    seed: Seed
    backend: Backend | None = None
    model: ModelSettings = Field(discriminator="recipe")
    training: TrainingSettings
    distillation: Distillation | None = None

    @field_serializer("training")
    def _without_trackers(self, training: TrainingSettings) -> dict[str, Any]:
        """Who was told of the progress does not matter."""
        return training.model_dump(mode="json", exclude={"report_to"})


class ModelSummary(ArtifactSummary):
    """The size of a model and of its training."""

    parameters: int | None = None
    tokens: int | None = None
