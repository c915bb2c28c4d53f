"""How rankings are made, by what made them, as their manifests say it.

TitleRankingConfig       from titles that a language model wrote
RankerRankingConfig      by a ranker that needs none
ImportedRankingConfig    by another program
FusedRankingConfig       out of several rankings
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gloss.artifacts import Artifact, ArtifactConfig, ArtifactSummary
from gloss.choices import SplitName, TitleStyle
from gloss.config import TitleFusion

__all__ = [
    "FUSED_LIST",
    "OURS",
    "FusedRankingConfig",
    "FusionSummary",
    "GroundingSummary",
    "ImportedRankingConfig",
    "RankerRankingConfig",
    "RankingConfig",
    "TitleRankingConfig",
    "config_of",
]

OURS = "gloss"
"""What the language model's own ranking is called among others."""


FUSED_LIST = "the fused list"


class RankingConfig(ArtifactConfig):
    """What every ranking has, and None for what it has not.

    ranker: which one made it. rankers: whose lists were fused. index: the settings of the index
    that was searched.
    """

    omitted_if_none = frozenset({"ranker", "rankers", "index"})

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


class TitleRankingConfig(RankingConfig):
    """A ranking of the items that generated titles mean. fusion: of one user's titles; fills_up:
    whether popular items end lists that are too short."""

    per_query: int
    fills_up: bool
    fusion: TitleFusion
    index: dict[str, Any]


class RankerRankingConfig(RankingConfig):
    """A ranking by a ranker that needs no language model; settings: as its spec has them."""

    ranker: str
    titles: TitleStyle
    limit_users: int | None
    settings: dict[str, Any]


class ImportedRankingConfig(RankingConfig):
    """A ranking that another program has made. columns: of its user, item, score and rank."""

    ranker: str
    columns: tuple[str | None, ...]


class FusedRankingConfig(RankingConfig):
    """A ranking out of several. fusion: the rule that was asked for; features: what it sees of each
    item; guard: True where it was compared with its parts; new_items: the share of the items that
    it was fitted to meet as new ones."""

    omitted_if_none = RankingConfig.omitted_if_none | {"guard", "new_items"}

    fusion: str
    rankers: tuple[str, ...]
    features: tuple[str, ...]
    guard: bool | None = None
    new_items: float | None = None


class FusionSummary(ArtifactSummary):
    """How lists were joined, and what is served.

    rule: the one that was fitted, where it is not the configuration's. served: the fused list, or
    the ranker whose own list is better. why: in a sentence; empty where nothing was compared.
    """

    rule: str | None = Field(None, alias="joined by")
    served: str = FUSED_LIST
    why: str = ""


class GroundingSummary(ArtifactSummary):
    """How many titles were searched, how many meant nothing, and how many entries of lists are
    there for their popularity alone."""

    queries: int
    found_nothing: int = Field(alias="queries that found nothing")
    filled_up: int = Field(alias="entries filled up with popular items")


def config_of(ranking: Artifact) -> RankingConfig:
    """How a ranking was made; ArtifactError if it does not say it as this version does."""
    if "columns" in ranking.config:
        return ImportedRankingConfig.of(ranking)
    if "ranker" in ranking.config:
        return RankerRankingConfig.of(ranking)
    return (FusedRankingConfig if "rankers" in ranking.config else TitleRankingConfig).of(ranking)
