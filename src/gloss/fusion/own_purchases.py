"""What a user's own purchases say of a candidate: whether it was bought before, when, how often."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from gloss.arrays import Array
from gloss.data.histories import History
from gloss.fusion.candidates import Candidates

__all__ = ["PURCHASE_FEATURES", "purchase_features"]

PURCHASE_FEATURES = ("times bought before", "purchases since")
"""log(1 + times that the user bought the item), and log(1 + purchases since the last time): missing
where there was none. That it was bought before is that the first is above 0."""


def purchase_features(batch: Candidates, histories: Sequence[History]) -> Array:
    """float64 (candidates, purchase features). histories: of the batch's users.

    Of a user who bought a b a, the candidates a, b and c have 2, 1 and 0 times, and 0, 1 and no
    purchases since.
    """
    candidates = pl.DataFrame({"user": batch.users, "item": batch.names[batch.codes]})
    joined = candidates.join(
        _times_and_ages(histories), on=["user", "item"], how="left", maintain_order="left"
    )
    times = joined["times"].fill_null(0).to_numpy()
    since = joined["since"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    features: Array = np.log1p(np.stack([times, since], axis=1))
    return features


def _times_and_ages(histories: Sequence[History]) -> pl.DataFrame:
    """user (its row), item, times, since: a row for each user and item that was bought."""
    lengths = [len(history.items) for history in histories]
    bought = pl.DataFrame(
        {
            "user": np.repeat(np.arange(len(histories)), lengths),
            "item": pl.Series([i for h in histories for i in h.items], dtype=pl.String),
            "since": np.concatenate([np.arange(0), *(np.arange(n)[::-1] for n in lengths)]),
        }
    )
    return bought.group_by("user", "item").agg(times=pl.len(), since=pl.col("since").min())
