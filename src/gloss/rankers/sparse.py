"""Scores of a few items of a large catalogue: their rows and what they score; all others have 0.

A score of every item for every user costs as much as the catalogue is long. Where few items are
reached, these alone are held and added up. Knows numbers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gloss.arrays import Array, Bools, Floats, Ints

__all__ = ["SparseScores"]

_DENSE_ROWS_PER_TERM = 8
"""Up to so many rows of the catalogue for each term, one sum a row costs less than a sort."""


@dataclass(frozen=True, slots=True, eq=False)
class SparseScores:
    """rows: int32 (found,), rising; scores: float32 (found,), not 0.

    >>> found = SparseScores.summed(np.array([4, 1, 4]), np.array([1.0, 2.0, 0.5]), size=6)
    >>> found.rows.tolist(), found.scores.tolist()
    ([1, 4], [2.0, 1.5])
    >>> found.at(np.array([4, 5, 1])).tolist()
    [1.5, 0.0, 2.0]
    """

    rows: Array
    scores: Floats

    @classmethod
    def summed(cls, rows: Array, terms: Array, *, size: int) -> SparseScores:
        """The sum of the terms of each row.

        rows: whole numbers (terms,), in any order; terms: float (terms,); size: of the catalogue.
        Sums are of 64 bits before they are rounded, so that what is equal but for the order of its
        terms stays equal.
        """
        if size <= _DENSE_ROWS_PER_TERM * len(rows):
            sums = np.bincount(rows, terms, minlength=size)
            found = np.flatnonzero(sums != 0)  # of truth values: many times faster than of sums
            return cls(found.astype(np.int32), sums[found].astype(np.float32))
        found, places = np.unique(rows, return_inverse=True)
        sums = np.bincount(places, terms, minlength=len(found))
        kept = sums != 0
        return cls(found[kept].astype(np.int32), sums[kept].astype(np.float32))

    @classmethod
    def weighted_sum(
        cls, parts: Sequence[SparseScores], weights: Sequence[float], *, size: int
    ) -> SparseScores:
        """The sum of several scores, each times its weight."""
        if not parts:
            return cls(np.empty(0, np.int32), np.empty(0, np.float32))
        pairs = zip(parts, weights, strict=True)
        terms = np.concatenate([part.scores * np.float64(weight) for part, weight in pairs])
        return cls.summed(np.concatenate([part.rows for part in parts]), terms, size=size)

    def at(self, rows: Ints) -> Floats:
        """float32 (rows,): the scores of any rows, int64 (rows,)."""
        places, found = self._places(rows)
        scores = np.zeros(len(rows), np.float32)
        scores[found] = self.scores[places[found]]
        return scores

    def without(self, rows: Ints) -> SparseScores:
        """The scores but for those of some rows, int64 (some,)."""
        places, found = self._places(rows)
        kept = np.ones(len(self.rows), np.bool_)
        kept[places[found]] = False
        return self.where(kept)

    def where(self, kept: Bools) -> SparseScores:
        """The scores that are kept, bool (found,)."""
        return SparseScores(self.rows[kept], self.scores[kept])

    def _places(self, rows: Ints) -> tuple[Ints, Bools]:
        """Where the rows stand, and whether they do: int64 (rows,), bool (rows,)."""
        # Of another type they would make searchsorted copy all of its own.
        sought = rows.astype(self.rows.dtype)
        places = np.searchsorted(self.rows, sought)
        found = places < len(self.rows)
        found[found] = self.rows[places[found]] == sought[found]
        return places, found
