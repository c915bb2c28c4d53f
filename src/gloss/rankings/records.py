"""How rankings are made, by what made them, as their manifests say it.

TitlesConfig    from titles that a language model wrote
RankerConfig    by a ranker that needs none
FusedConfig     out of several rankings
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gloss.artifacts import Artifact, ArtifactConfig, ArtifactSummary
from gloss.choices import SplitName, TitleStyle
from gloss.config import TitleFusion

__all__ = [
    "OURS",
    "FusedConfig",
    "GroundingSummary",
    "RankerConfig",
    "RankingConfig",
    "TitlesConfig",
    "config_of",
]

OURS = "gloss"
"""What the language model's own ranking is called among others."""


class RankingConfig(ArtifactConfig):
    """What every ranking has, and None for what it has not.

    ranker: which one made it. rankers: whose lists were fused. index: the settings of the index
    that was searched.
    """

    left_out = frozenset({"ranker", "rankers", "index"})

    split: SplitName
    length: int
    exclude_seen: bool
    ranker: str | None = None
    rankers: tuple[str, ...] | None = None
    index: dict[str, Any] | None = None

    @property
    def made_by(self) -> str:
        """The ranker that made it."""
        return self.ranker or OURS


class TitlesConfig(RankingConfig):
    """A ranking of the items that generated titles mean. fusion: of one user's titles."""

    per_query: int
    fusion: TitleFusion
    index: dict[str, Any]


class RankerConfig(RankingConfig):
    """A ranking by a ranker that needs no language model; settings: as its spec has them."""

    ranker: str
    titles: TitleStyle
    limit_users: int | None
    settings: dict[str, Any]


class FusedConfig(RankingConfig):
    """A ranking out of several. fusion: the rule; features: what it saw of each item."""

    fusion: str
    rankers: tuple[str, ...]
    features: tuple[str, ...]


class GroundingSummary(ArtifactSummary):
    """How many titles were searched, and how many meant nothing."""

    queries: int
    found_nothing: int = Field(alias="queries that found nothing")


def config_of(ranking: Artifact) -> RankingConfig:
    """How a ranking was made; ArtifactError if it does not say it as this version does."""
    if "ranker" in ranking.config:
        return RankerConfig.of(ranking)
    return (FusedConfig if "rankers" in ranking.config else TitlesConfig).of(ranking)
