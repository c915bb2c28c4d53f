"""Settings that several rankers share. Needs nothing but pydantic: the command line reads them."""

from __future__ import annotations

from pydantic import Field

from gloss.config import HistoryLength, Settings

__all__ = ["RecentPurchases"]


class RecentPurchases(Settings):
    """A user as the last purchases of the history, later ones counting more."""

    recent: HistoryLength = Field(
        10, description="Purchases of a history that count: the last ones."
    )
    decay: float = Field(
        0.5,
        gt=0,
        le=1,
        description="The weight of a purchase relative to the one after it: the last purchase has "
        "weight 1, the one before it `decay`, then `decay`^2, …",
    )
