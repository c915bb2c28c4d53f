"""What the manifest says of a ranker that was trained."""

from __future__ import annotations

from typing import Any

from gloss.artifacts import ArtifactConfig
from gloss.config import Seed
from gloss.data.titles import TitleStyle

__all__ = ["TrainedConfig"]


class TrainedConfig(ArtifactConfig):
    """How a ranker was trained. settings: as its spec has them; encoder: that it began with."""

    omitted_if_none = frozenset({"encoder"})

    ranker: str
    titles: TitleStyle
    seed: Seed
    settings: dict[str, Any]
    encoder: str | None = None
