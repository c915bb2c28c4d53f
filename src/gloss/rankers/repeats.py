"""Repeat purchases: the user's own earlier purchases, by how often, how lately, and whether due.

A user with n purchases has bought an item at the places p_1 < … < p_m of them. The next purchase is
number n + 1, so that one at place p lies n + 1 - p purchases back. With b the bin of the last one's
gap n + 1 - p_m, and κ the weight of what holds for all items:

    count    c = Σ_k decay^(n - p_k)
    due      d = (again_i(b) + κ · h(b)) / (waited_i(b) + κ)
    score    s = log c + log d

again_i(b) is how often in training item i was bought again after a gap of bin b, and waited_i(b)
how many purchases were made at such a gap from a purchase of i, of i or not: d is the item's hazard
in a life table, and it is highest at the item's usual interval. h(b) is that of all items together.

Gaps are counted in purchases, because a prepared data set holds the order of purchases, not their
dates. Bins double in width, as intervals do that people tell apart:

    bin     0    1     2     3      4       5       6       7
    gap     1    2-3   4-7   8-15   16-31   32-63   64-127  128 or more
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from gloss.arrays import Array, Ints, ranks_of
from gloss.config import Settings
from gloss.data.catalogue import Catalogue
from gloss.data.histories import History
from gloss.data.history_rows import HistoryRows
from gloss.rankers.ranker import RankerParts, RankerSpec, RankRequest, require_counts
from gloss.rankers.scoring import rows_of
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.table import RankingTable

__all__ = ["SPEC", "Intervals", "Repeats", "RepeatsSettings", "count_intervals"]

_BIN_STARTS = 2 ** np.arange(8)
"""The smallest gap of each bin, int64 (bins,)."""


class RepeatsSettings(Settings):
    """What somebody has bought before, to be bought again."""

    decay: float = Field(
        0.95,
        gt=0,
        le=1,
        description="A purchase counts `decay` times as much as the one after it: with 1 the score "
        "follows how often an item was bought, with less how lately too.",
    )
    intervals: bool = Field(
        True, description="Whether the item's usual interval between repeats counts."
    )
    prior: float = Field(
        20.0,
        gt=0,
        le=1e6,
        description="Chances to be bought again for which all items together vouch, beside the "
        "item's own.",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """How long people wait until they buy the same again. int32 (catalogue, bins) each.

    again: repeats after a gap of that bin; waited: purchases at that gap, repeats among them.
    """

    again: Array
    waited: Array

    def hazard(self, prior: float) -> Array:
        """d of the module's formula, float64 (catalogue, bins), above 0."""
        # One repeat in two purchases is added, so that nothing is impossible (Laplace).
        overall = (self.again.sum(axis=0) + 1) / (self.waited.sum(axis=0) + 2)  # (bins,)
        hazard: Array = (self.again + prior * overall) / (self.waited + prior)
        return hazard


@dataclass(frozen=True, slots=True, eq=False)
class Repeats:
    """Ranks a user's own purchases. due: float64 (catalogue, bins), how likely each item is bought
    again after a gap of each bin; None where intervals do not count."""

    catalogue: Catalogue
    due: Array | None
    decay: float

    def rank(self, request: RankRequest) -> RankingTable:
        """Everybody's list by the module's formula, each item because of itself.

        It is empty where bought items are left out: there is nothing else to list.
        """
        return RankingTable.of(
            [
                Ranking(history.user, () if request.exclude_seen else self._best(history, request))
                for history in request.histories
            ]
        )

    def _best(self, history: History, request: RankRequest) -> tuple[RankedItem, ...]:
        rows, scores = self._scores(rows_of(history.items, self.catalogue))
        order = np.lexsort((rows, -scores)).tolist()  # equal scores by row
        allowed = [place for place in order if request.may_list(int(rows[place]))]
        return tuple(self._entries(rows, scores, allowed[: request.length]))

    def _scores(self, bought: Ints) -> tuple[Ints, Array]:
        """The distinct items of a history, int64 (items,), and their scores, float64 (items,)."""
        back = np.arange(len(bought))[::-1]  # (purchases,), 0 for the last
        rows, first, which = np.unique(bought[::-1], return_index=True, return_inverse=True)
        counts = np.bincount(which, self.decay ** back[::-1].astype(float), minlength=len(rows))
        if self.due is not None:
            counts *= self.due[rows, _bin_of(first + 1)]
        return rows, np.log(counts)

    def _entries(self, rows: Ints, scores: Array, places: Sequence[int]) -> Iterator[RankedItem]:
        for place in places:
            item = self.catalogue[int(rows[place])].id
            yield RankedItem(item, float(scores[place]), because=item)


def count_intervals(
    train: HistoryRows, catalogue: Catalogue, settings: RepeatsSettings
) -> Mapping[str, Array]:
    """The arrays of `Intervals`, by their names.

    In the history a b a c, a is bought again after 2 purchases, and then waits for 1 in vain:

        item    gap 1            gap 2-3
        a       waited 2         again 1, waited 1
        b       waited 1         waited 1
        c       (nothing is known of what comes after it)
    """
    lengths, rows = train.lengths, train.rows.astype(np.int64)
    keys = train.owners * len(catalogue) + rows  # who bought what
    order = np.argsort(keys, kind="stable")  # purchases of a user and an item, earliest first
    rows, places = rows[order], ranks_of(lengths)[order]
    is_last = np.diff(keys[order], append=-1) != 0
    ends = lengths[train.owners[order]]
    gaps = np.where(is_last, ends, np.roll(places, -1)) - places
    waits = gaps - is_last  # nothing is bought at the place after the last
    shape = len(catalogue), len(_BIN_STARTS)
    again = rows[~is_last] * shape[1] + _bin_of(gaps[~is_last])
    waited = [np.bincount(rows, of_bin, minlength=shape[0]) for of_bin in _by_bin(waits)]
    return {
        "again": np.bincount(again, minlength=shape[0] * shape[1]).reshape(shape).astype(np.int32),
        "waited": np.stack(waited, axis=1).astype(np.int32),
    }


def _bin_of(gaps: Ints) -> Ints:
    """The bin of each gap, int64.

    >>> _bin_of(np.array([1, 2, 3, 4, 127, 500])).tolist()
    [0, 1, 1, 2, 6, 7]
    """
    bins: Ints = np.searchsorted(_BIN_STARTS, gaps, side="right") - 1
    return bins


def _by_bin(waits: Ints) -> Iterator[Ints]:
    """Of the gaps 1 to `waits`, how many are of each bin: int64 (purchases,), bin after bin.

    >>> [of_bin.tolist() for of_bin in _by_bin(np.array([0, 1, 5]))][:3]
    [[0, 1, 1], [0, 0, 2], [0, 0, 2]]
    """
    for start, end in zip(_BIN_STARTS, (*_BIN_STARTS[1:], np.iinfo(np.int64).max), strict=True):
        yield np.clip(waits - start + 1, 0, end - start)


def _build(parts: RankerParts, settings: RepeatsSettings) -> Repeats:
    due = None
    if settings.intervals:
        counts = parts.counts(SPEC, settings)
        shape = len(parts.catalogue), len(_BIN_STARTS)
        kinds = {name: (array.dtype.kind, array.shape) for name, array in counts.items()}
        require_counts(kinds == dict.fromkeys(("again", "waited"), ("i", shape)), SPEC.name)
        due = Intervals(**counts).hazard(settings.prior)
    return Repeats(parts.catalogue, due, settings.decay)


SPEC = RankerSpec(
    name="repeats",
    label="Repeat purchases",
    settings=RepeatsSettings,
    build=_build,
    count=count_intervals,
    lists_bought_alone=True,
)
