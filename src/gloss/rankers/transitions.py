"""The transition graph: what was bought near what, one and two steps from a user's last purchases.

With A the weights of the graph, w_i = decay^age(i) for purchases i = 1 … n, and e_i the row of
purchase i as a unit vector:

    one step    r1 = Σ_i w_i · e_i A
    two steps   r2 = Σ_i w_i · e_i A A
    score       s = first_hop · r1 / max(r1) + second_hop · r2 / max(r2)

Symmetric on purpose: purchases of one day may be stored in the order of their ids, and a directed
"next" edge would learn that order. Nothing is trained. Knows ids, not titles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from pydantic import Field

from gloss.arrays import Array, slices_of
from gloss.config import HistoryLength
from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import History
from gloss.rankers.ranker import RankerParts, RankerSpec, RankRequest
from gloss.rankers.scoring import (
    Contributions,
    cached_by_row,
    rank_by_recent,
    recency_weights,
    rows_of,
)
from gloss.rankers.settings import RecentPurchases
from gloss.rankings.table import RankingTable

__all__ = [
    "SECOND_ORDER",
    "SPEC",
    "Graph",
    "SecondOrderTransitionsSettings",
    "Transitions",
    "TransitionsSettings",
    "build_graph",
]


class TransitionsSettings(RecentPurchases):
    """The graph of what was bought near what, and how far it is followed."""

    window: HistoryLength = Field(
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
    first_hop: float = Field(1.0, ge=0, le=1000, description="The weight of what one step reaches.")
    second_hop: float = Field(0.1, ge=0, le=1000, description="The weight of what two steps reach.")


class SecondOrderTransitionsSettings(TransitionsSettings):
    """The same graph, followed two steps far: items that share neighbours with the last ones."""

    degree_power: float = Field(
        0.3,
        ge=0,
        le=1,
        description="An edge is divided by the degrees of both its items, each to this power.",
    )
    first_hop: float = Field(0.0, ge=0, le=1000, description="The weight of what one step reaches.")
    second_hop: float = Field(1.0, ge=0, le=1000, description="The weight of what two steps reach.")


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A symmetric matrix as compressed sparse rows; its diagonal says what is bought again.

    starts: int64 (items + 1,), where each row begins; neighbours: int64 (edges,), by row;
    weights: float64 (edges,), above 0. Items 0 1 2 with edges 0-1 of weight 3 and 0-2 of weight 5:

        starts       0   2 3 4
        neighbours   1 2 0 0
        weights      3 5 3 5
    """

    starts: Array
    neighbours: Array
    weights: Array

    def edges_of(self, row: int) -> tuple[Array, Array]:
        """An item's neighbours, int64 (edges,) in order, and their weights, float64."""
        edges = slice(self.starts[row], self.starts[row + 1])
        return self.neighbours[edges], self.weights[edges]

    def spread(self, rows: Array, amounts: Array) -> Array:
        """float64 (items,): what one step from some items reaches, amounts @ A[rows].

        rows: int64 (some,), in order; amounts: float64 (some,).

        >>> graph = Graph(np.array([0, 2, 3, 4]), np.array([1, 2, 0, 0]), np.array([3, 5, 3, 5.0]))
        >>> graph.spread(np.array([0, 2]), np.array([1.0, 0.5])).tolist()
        [2.5, 3.0, 5.0]
        """
        counts = self.starts[rows + 1] - self.starts[rows]  # (some,), edges of each row
        edges = slices_of(self.starts[rows], counts)  # (edges of these rows,)
        flows = np.repeat(amounts, counts) * self.weights[edges]
        return np.bincount(self.neighbours[edges], flows, minlength=len(self.starts) - 1)


def build_graph(
    train: Sequence[History], catalogue: Catalogue, settings: TransitionsSettings
) -> Graph:
    """Join purchases at most `window` apart, with weight fading^(gap - 1), both ways.

    The weight of an edge is the sum over all histories, divided by both items' degrees (the sums of
    their weights) to the power `degree_power`. An item that is bought again is joined to itself,
    so that it can be named again; lists that leave out what was bought do not see that.
    """
    size = len(catalogue)
    rows = [rows_of(history.items, catalogue) for history in train]
    # An edge i-j is the number i * size + j, so that sorting groups equal edges, row by row.
    keys, weights = [np.empty(0, np.int64)], [np.empty(0)]
    for gap in range(1, settings.window + 1):
        earlier = np.concatenate([np.empty(0, np.int64), *(each[:-gap] for each in rows)])
        later = np.concatenate([np.empty(0, np.int64), *(each[gap:] for each in rows)])
        keys += [earlier * size + later, later * size + earlier]
        weights += [np.full(2 * len(earlier), settings.fading ** (gap - 1))]
    edges, edge_of = np.unique(np.concatenate(keys), return_inverse=True)
    sums = np.bincount(edge_of, np.concatenate(weights), minlength=len(edges))
    return _normalised(edges // size, edges % size, sums, size, settings.degree_power)


def _normalised(rows: Array, columns: Array, sums: Array, size: int, power: float) -> Graph:
    """The matrix with degrees divided out on both sides.

    rows, columns: int64 (edges,), row by row; sums: float64 (edges,).
    """
    degrees = np.bincount(rows, sums, minlength=size)  # (items,)
    scales = np.where(degrees > 0, degrees, 1.0) ** -power
    starts = np.searchsorted(rows, np.arange(size + 1))
    return Graph(starts, columns, sums * scales[rows] * scales[columns])


class Transitions:
    """What lies around a user's last purchases in the graph."""

    def __init__(self, graph: Graph, catalogue: Catalogue, settings: TransitionsSettings) -> None:
        self._catalogue = catalogue
        self._settings = settings
        self._reach: Callable[[int], Array] = cached_by_row(
            partial(_reach, graph), entry_bytes=2 * 4 * len(catalogue)
        )

    def rank(self, request: RankRequest) -> RankingTable:
        """Everybody's list by the module's formula; what nothing reaches is left out."""
        return rank_by_recent(request, self._catalogue, self._score, settings=self._settings)

    def _score(self, items: Sequence[ItemId]) -> tuple[Array, Contributions]:
        reach = np.array([self._reach(self._catalogue.row(item)) for item in items], np.float32)
        reach = reach.reshape(len(items), 2, len(self._catalogue))
        scores, weights = _weigh(reach, self._settings)
        return scores, partial(_contributions, reach, weights)


def _reach(graph: Graph, row: int) -> Array:
    """float32 (2, items): what one step and two steps from an item reach, e A and e A A."""
    rows, weights = graph.edges_of(row)
    reach = np.zeros((2, len(graph.starts) - 1), np.float32)
    reach[0, rows] = weights
    reach[1] = graph.spread(rows, weights)
    return reach


def _weigh(reach: Array, settings: TransitionsSettings) -> tuple[Array, Array]:
    """float32 (items,): the scores; float32 (purchases, hops): the weight of each purchase's reach
    in them.

    reach: float32 (purchases, hops, items), earliest purchase first.
    """
    count, hops, size = reach.shape
    recency = recency_weights(count, settings.decay)  # (purchases,)
    total = (recency @ reach.reshape(count, hops * size)).reshape(hops, size)
    largest = total.max(axis=1)  # (hops,)
    wanted = np.array([settings.first_hop, settings.second_hop], np.float32)
    scales = wanted / np.where(largest > 0, largest, 1)
    return scales @ total, recency[:, None] * scales


def _contributions(reach: Array, weights: Array, rows: Array) -> Array:
    """float32 (purchases, rows): what each purchase adds to the scores of these rows.

    reach: float32 (purchases, hops, items); weights: float32 (purchases, hops).
    """
    contributions: Array = np.einsum("phr,ph->pr", np.take(reach, rows, axis=2), weights)
    return contributions


def _count(
    train: Sequence[History], catalogue: Catalogue, settings: TransitionsSettings
) -> Mapping[str, Array]:
    """What a bundle keeps of the purchases: the graph's arrays, by the names of its fields."""
    graph = build_graph(train, catalogue, settings)
    return {"starts": graph.starts, "neighbours": graph.neighbours, "weights": graph.weights}


def _spec(
    name: str, label: str, settings: type[TransitionsSettings]
) -> RankerSpec[TransitionsSettings]:
    def build(parts: RankerParts, settings: TransitionsSettings) -> Transitions:
        return Transitions(Graph(**parts.counts(spec, settings)), parts.catalogue, settings)

    spec = RankerSpec(name=name, label=label, settings=settings, build=build, count=_count)
    return spec


SPEC = _spec("transitions", "Transitions", TransitionsSettings)

SECOND_ORDER = _spec(
    "second-order-transitions", "Second-order transitions", SecondOrderTransitionsSettings
)
