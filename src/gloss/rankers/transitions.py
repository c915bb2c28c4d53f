"""The transition graph: what was bought near what, one and two steps from a user's last purchases.

Symmetric on purpose: purchases of one day may be stored in the order of their ids, and a directed
"next" edge would learn that order. Training-free. Knows ids; knows no titles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from pydantic import Field, PositiveInt

from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import History, Question
from gloss.progress import Progress, silent
from gloss.rankers.ranker import RankerSpec, RecentPurchases
from gloss.rankers.scoring import Array, Shares, fading, reached, remembered, rows_of
from gloss.rankings.table import RankingTable

__all__ = [
    "SECOND_ORDER",
    "SPEC",
    "Graph",
    "SecondOrderTransitionsSettings",
    "TransitionsSettings",
    "build_graph",
    "transitions",
]


class TransitionsSettings(RecentPurchases):
    """The graph of what was bought near what, and how far it is followed."""

    window: PositiveInt = Field(
        8, description="Purchases of a history at most this far apart are joined."
    )
    fading: float = Field(
        0.7,
        gt=0,
        le=1,
        description="Purchases `gap` apart are joined with weight fading^(gap - 1).",
    )
    degree_power: float = Field(
        0.1,
        ge=0,
        le=1,
        description="An edge is divided by the degrees of both its items, each to this power.",
    )
    first_hop: float = Field(1.0, ge=0, description="The weight of what one step reaches.")
    second_hop: float = Field(0.1, ge=0, description="The weight of what two steps reach.")


class SecondOrderTransitionsSettings(TransitionsSettings):
    """The same graph, followed two steps far: items that share neighbours with the last ones."""

    degree_power: float = Field(
        0.3,
        ge=0,
        le=1,
        description="An edge is divided by the degrees of both its items, each to this power.",
    )
    first_hop: float = Field(0.0, ge=0, description="The weight of what one step reaches.")
    second_hop: float = Field(1.0, ge=0, description="The weight of what two steps reach.")


@dataclass(frozen=True, slots=True)
class Graph:
    """Compressed sparse rows of a symmetric matrix.

    starts: int64 (items + 1,), where each row begins; neighbours: int64 (edges,), by row;
    weights: float64 (edges,), above 0.
    """

    starts: Array
    neighbours: Array
    weights: Array

    def edges_of(self, row: int) -> tuple[Array, Array]:
        """An item's neighbours, int64 (edges,) in order, and their weights, float64."""
        edges = slice(self.starts[row], self.starts[row + 1])
        return self.neighbours[edges], self.weights[edges]

    def spread(self, rows: Array, amounts: Array) -> Array:
        """float64 (items,): what flows from some items to their neighbours.

        rows: int64 (some,), in order; amounts: float64 (some,).
        """
        counts = self.starts[rows + 1] - self.starts[rows]
        shifts = self.starts[rows] - (np.cumsum(counts) - counts)
        edges = np.arange(counts.sum()) + np.repeat(shifts, counts)
        flows = np.repeat(amounts, counts) * self.weights[edges]
        return np.bincount(self.neighbours[edges], flows, minlength=len(self.starts) - 1)


def build_graph(
    train: Sequence[History], catalogue: Catalogue, settings: TransitionsSettings
) -> Graph:
    """Join purchases at most `window` places apart, with weight fading^(gap - 1), both ways.

    The weight of an edge is the sum over all histories, divided by both items' degrees (the sums of
    their weights) to the power `degree_power`.
    """
    size = len(catalogue)
    rows = [rows_of(history.items, catalogue) for history in train]
    keys, weights = [np.empty(0, np.int64)], [np.empty(0)]
    for gap in range(1, settings.window + 1):
        one = np.concatenate([np.empty(0, np.int64), *(each[:-gap] for each in rows)])
        other = np.concatenate([np.empty(0, np.int64), *(each[gap:] for each in rows)])
        keys += [one * size + other, other * size + one]
        weights += [np.full(2 * len(one), settings.fading ** (gap - 1))]
    edges, place = np.unique(np.concatenate(keys), return_inverse=True)
    sums = np.bincount(place, np.concatenate(weights), minlength=len(edges))
    return _normalised(edges // size, edges % size, sums, size, settings.degree_power)


def transitions(
    graph: Graph,
    questions: Sequence[Question],
    catalogue: Catalogue,
    *,
    settings: TransitionsSettings,
    length: int,
    exclude_seen: bool,
    progress: Progress = silent,
) -> RankingTable:
    """Each user's list: what lies around the last `recent` purchases, the later ones counting more.

    The score is `first_hop` times what one step reaches, divided by its maximum, plus `second_hop`
    times what two steps reach, divided by its own. Items that nothing reaches are left out, so
    lists may be short.
    An item is there because of the purchase that gives it most.
    """
    size = len(catalogue)
    near = remembered(partial(_surroundings, graph), size=8 * size)

    def around(history: Sequence[ItemId]) -> tuple[Array, Shares]:
        found = np.array([near(catalogue.row(item)) for item in history], np.float32)
        found = found.reshape(len(history), 2, size)
        scores, weights = _scored(found, settings)
        return scores, partial(_shares, found, weights)

    return reached(
        around,
        questions,
        catalogue,
        settings=settings,
        length=length,
        exclude_seen=exclude_seen,
        progress=progress,
    )


def _normalised(rows: Array, columns: Array, sums: Array, size: int, power: float) -> Graph:
    """The matrix without its diagonal, degrees divided out on both sides."""
    off = rows != columns
    rows, columns, sums = rows[off], columns[off], sums[off]
    degrees = np.bincount(rows, sums, minlength=size)
    scales = np.where(degrees > 0, degrees, 1.0) ** -power
    starts = np.searchsorted(rows, np.arange(size + 1))
    return Graph(starts, columns, sums * scales[rows] * scales[columns])


def _surroundings(graph: Graph, row: int) -> Array:
    """float32 (2, items): what one step and two steps from an item reach."""
    rows, weights = graph.edges_of(row)
    reached = np.zeros((2, len(graph.starts) - 1), np.float32)
    reached[0, rows] = weights
    reached[1] = graph.spread(rows, weights)
    return reached


def _scored(around: Array, settings: TransitionsSettings) -> tuple[Array, Array]:
    """float32 (items,): the scores; and (purchases, hops): what each purchase's surroundings weigh
    in them.

    around: float32 (purchases, hops, items), earliest first.
    """
    count, hops, size = around.shape
    fades = fading(count, settings.decay)
    reach = (fades @ around.reshape(count, hops * size)).reshape(hops, size)
    most = reach.max(axis=1)
    wanted = np.array([settings.first_hop, settings.second_hop], np.float32)
    scales = wanted / np.where(most > 0, most, 1)
    return scales @ reach, fades[:, None] * scales


def _shares(around: Array, weights: Array, rows: Array) -> Array:
    """float32 (purchases, rows): what each purchase adds to the scores of these rows.

    around: float32 (purchases, hops, items); weights: float32 (purchases, hops).
    """
    shares: Array = np.einsum("phr,ph->pr", np.take(around, rows, axis=2), weights)
    return shares


SPEC = RankerSpec("transitions", "Transitions", TransitionsSettings)

SECOND_ORDER = RankerSpec(
    "second-order-transitions", "Second-order transitions", SecondOrderTransitionsSettings
)
