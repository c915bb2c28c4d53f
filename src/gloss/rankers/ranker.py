"""The seam of rankers: how one is declared.

A ranker is one file that ends with its `RankerSpec`, and one line in the tuple of
rankers/specs.py. Settings, stages, commands, report and pipeline read that tuple.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import Field, PositiveInt

from gloss.config import Settings

__all__ = ["NoSettings", "RankerSpec", "RecentPurchases"]

S = TypeVar("S", bound=Settings)


class NoSettings(Settings):
    """For rankers with nothing to set."""


class RecentPurchases(Settings):
    """A user as the last purchases of the history, later ones counting more."""

    recent: PositiveInt = Field(10, description="Purchases of a history that count: the last ones.")
    decay: float = Field(
        0.5,
        gt=0,
        le=1,
        description="The weight of a purchase relative to the one after it: the last purchase has "
        "weight 1, the one before it `decay`, then `decay`^2, …",
    )


@dataclass(frozen=True, slots=True)
class RankerSpec(Generic[S]):
    """What the rest of GLoSS knows of a ranker.

    name: in commands, settings, manifests and folders; label: in reports; settings: the section of
    an experiment that is the ranker's own.
    """

    name: str
    label: str
    settings: type[S]

    @property
    def section(self) -> str:
        """The name of the ranker's settings below `rankers`."""
        return self.name.replace("-", "_")
