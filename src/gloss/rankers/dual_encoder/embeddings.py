"""What an encoder was taught of a catalogue: arrays that lie beside its weights. Needs no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Taught", "read_taught", "write_taught"]

Array = np.ndarray[Any, Any]

_FILE = "taught.npz"


@dataclass(frozen=True, slots=True)
class Taught:
    """What is bought after what, by distinct title.

    titles: int64 (catalogue,), the title of each item; asking, answering: float32 (titles,
    dimension), whose products are log-odds of one being bought after the other; weights: float32
    (titles,), how much a purchase decides; ages: float32 (recent,), how much the last purchase
    does, the one before, ...; both are logarithms.
    """

    titles: Array
    asking: Array
    answering: Array
    weights: Array
    ages: Array

    def after(self, titles: Array) -> Array:
        """float32 (asked, titles): how likely each title is next after a purchase of these, which
        are never their own next."""
        odds = self.asking[titles] @ self.answering.T
        odds[np.arange(len(titles)), titles] = -np.inf
        odds -= odds.max(axis=1, keepdims=True)
        np.exp(odds, out=odds)
        odds /= odds.sum(axis=1, keepdims=True)
        return odds

    def deciding(self, titles: Array) -> Array:
        """float32 (purchases,): how likely each decides what comes next. titles: of a user's last
        purchases, earliest first: at least one, at most as many as there are ages."""
        weights = self.weights[titles] + self.ages[: len(titles)][::-1]
        shares = np.exp(weights - weights.max())
        chances: Array = shares / shares.sum()
        return chances


def write_taught(taught: Taught, folder: Path) -> None:
    """Add the arrays to an encoder's folder."""
    np.savez(folder / _FILE, **asdict(taught))


def read_taught(folder: Path) -> Taught:
    """Read what `write_taught` wrote."""
    with np.load(folder / _FILE, allow_pickle=False) as arrays:
        return Taught(**arrays)
