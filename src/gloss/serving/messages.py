"""What the service and the process of its model tell each other, pickled, over a socket that only
these two have. Knows neither."""

from __future__ import annotations

import copyreg
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from gloss.data.catalogue import Catalogue

__all__ = ["Call", "Done", "Dropped", "Failed", "Opened", "Written"]


def _read_only(mapping: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(mapping)


copyreg.pickle(MappingProxyType, lambda view: (_read_only, (dict(view),)))  # stands in `Rules`


@dataclass(frozen=True, slots=True)
class Call:
    """To the model: a method of `Served`, or "open". number: of the call; its answers have it.

    served: the number of the recommender that is called; 0 for "open". tells: whether titles are
    to be told as they are written.
    """

    number: int
    method: Literal["open", "recommend", "search", "changed"]
    served: int
    arguments: tuple[Any, ...]
    tells: bool = False


@dataclass(frozen=True, slots=True)
class Dropped:
    """To the model: nobody has this recommender any more; after the last one the process ends."""

    served: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The value of "open" and "changed". catalogue: None for that of the recommender before."""

    served: int
    fingerprint: str
    has_diversity: bool
    catalogue: Catalogue | None


@dataclass(frozen=True, slots=True)
class Written:
    """From the model: a title that was written for a history of a call."""

    number: int
    history: int
    title: str


@dataclass(frozen=True, slots=True)
class Done:
    """From the model: what a call returned."""

    number: int
    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """From the model: what a call raised."""

    number: int
    error: Exception
