"""The transition graph: what was bought near what, one and two steps from a user's last purchases.

With A the weights of the graph, w_i = decay^age(i) for purchases i = 1 … n, and e_i the row of
purchase i as a unit vector:

    one step    r1 = Σ_i w_i · e_i A
    two steps   r2 = Σ_i w_i · e_i A A
    score       s = first_hop · r1 / max(r1) + second_hop · r2 / max(r2)

Joined without a direction: purchases of one day may be stored in the order of their ids, and a
directed "next" edge would learn that order. Of each item the heaviest `neighbours` edges are kept,
so that a user costs at most recent · neighbours² additions, however popular the purchases and
however large the catalogue. Nothing is trained. Knows ids, not titles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from pydantic import Field

from gloss.arrays import Array, Ints, slices_of, starts_of, top_rows
from gloss.config import HistoryLength
from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.history_rows import HistoryRows
from gloss.errors import ConfigError
from gloss.rankers.ranker import RankerParts, RankerSpec, RankRequest, require_counts
from gloss.rankers.scoring import (
    Contributions,
    cached_by_row,
    rank_by_recent,
    recency_weights,
)
from gloss.rankers.settings import RecentPurchases
from gloss.rankers.sparse import SparseScores
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
    neighbours: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="Edges of an item that are followed: the heaviest. It bounds the work for a "
        "user and the memory of a large graph.",
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


_ENTRY_BYTES = 8
"""Of a row and what it scores."""


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A matrix of items by items as compressed sparse rows; its diagonal says what is bought again.

    starts: int64 (items + 1,), where each row begins; neighbours: int32 (edges,), rising in each
    row; weights: float32 (edges,), above 0. Items 0 1 2 with edges 0-1 of weight 3, 0-2 of 5:

        starts       0   2 3 4
        neighbours   1 2 0 0
        weights      3 5 3 5
    """

    starts: Ints
    neighbours: Array
    weights: Array

    @classmethod
    def of(cls, arrays: Mapping[str, Array], ranker: str, *, items: int) -> Graph:
        """The graph of a ranker's counts. Raises ArtifactError unless it is one of so many items.

        >>> edges = {"neighbours": np.array([1, 0]), "weights": np.array([3.0, 3.0])}
        >>> Graph.of({"starts": np.array([0, 1, 2]), **edges}, "transitions", items=2).weights
        array([3., 3.])
        """
        require_counts(arrays.keys() == {"starts", "neighbours", "weights"}, ranker)
        graph = cls(**arrays)
        starts, neighbours, weights = graph.starts, graph.neighbours, graph.weights
        kinds = starts.dtype.kind + neighbours.dtype.kind + weights.dtype.kind
        require_counts(kinds == "iif" and starts.shape == (items + 1,), ranker)
        require_counts(neighbours.ndim == 1 and neighbours.shape == weights.shape, ranker)
        require_counts(starts[0] == 0 and starts[-1] == len(weights), ranker)
        require_counts(bool((np.diff(starts) >= 0).all()), ranker)
        require_counts(bool(((neighbours >= 0) & (neighbours < items)).all()), ranker)
        return graph

    def edges_of(self, row: int) -> SparseScores:
        """What one step from an item reaches: the row's neighbours, and their weights."""
        edges = slice(self.starts[row], self.starts[row + 1])
        return SparseScores(self.neighbours[edges], self.weights[edges])

    def spread(self, step: SparseScores) -> SparseScores:
        """What one step more reaches, `step` @ A.

        >>> edges = np.array([1, 2, 0, 0], np.int32), np.array([3, 5, 3, 5], np.float32)
        >>> found = Graph(np.array([0, 2, 3, 4]), *edges)
        >>> found.spread(found.edges_of(0)).scores.tolist()  # 0-1-0 and 0-2-0
        [34.0]
        """
        begins = self.starts[step.rows]
        counts = self.starts[step.rows + 1] - begins  # (found,), edges of each row
        edges = slices_of(begins, counts)  # (edges of these rows,)
        flows = np.repeat(step.scores.astype(np.float64), counts) * self.weights[edges]
        return SparseScores.summed(self.neighbours[edges], flows, size=len(self.starts) - 1)


def build_graph(train: HistoryRows, catalogue: Catalogue, settings: TransitionsSettings) -> Graph:
    """Join purchases at most `window` apart, with weight fading^(gap - 1), both ways.

    The weight of an edge is the sum over all histories, divided by both items' degrees (the sums of
    their weights) to the power `degree_power`. An item that is bought again is joined to itself,
    so that it can be named again; lists that leave out what was bought do not see that. Of each
    item's edges the heaviest `neighbours` are kept, equals by row.
    """
    size = len(catalogue)
    first, second, sums = _pairs(train, size, settings)
    itself = first == second
    sums[itself] *= 2  # it is counted from both ends
    rows = np.concatenate([second[~itself], first])
    columns = np.concatenate([first[~itself], second])
    sums = np.concatenate([sums[~itself], sums])
    degrees = np.bincount(rows, sums, minlength=size)  # (items,)
    scales = np.where(degrees > 0, degrees, 1.0) ** -settings.degree_power
    sums *= scales[rows] * scales[columns]
    # Pairs come by `first`, then `second`: stable, a row's smaller neighbours stand before it.
    order = np.argsort(rows, kind="stable")
    starts = np.append(0, np.cumsum(np.bincount(rows, minlength=size)))
    graph = Graph(starts, columns[order], sums[order].astype(np.float32))
    return _heaviest(graph, settings.neighbours)


def _pairs(
    train: HistoryRows, size: int, settings: TransitionsSettings
) -> tuple[Array, Array, Array]:
    """The pairs of items that are bought near each other, and the sums of their weights.

    int32 (pairs,), first <= second, by first and then second; float64 (pairs,). A pair i-j with a
    gap is the number (i * size + j) * window + gap - 1, so that sorting groups equal pairs. For
    3 items and a window of 2, the histories 0 1 2 and 1 0:

        pairs and gaps   0-1 1   1-2 1   0-2 2   0-1 1
        numbers          2       10      5       2
        sorted           2 2  5  10
    """
    window = settings.window
    if size * size * window > np.iinfo(np.int64).max:
        raise ConfigError(
            f"a window of {window} is too long for {size:,} items: take a shorter one"
        )
    owners, numbers = train.owners, [np.empty(0, np.int64)]
    for gap in range(1, window + 1):
        joined = owners[:-gap] == owners[gap:]
        earlier, later = train.rows[:-gap][joined], train.rows[gap:][joined]
        pairs = np.minimum(earlier, later).astype(np.int64) * size + np.maximum(earlier, later)
        numbers.append(pairs * window + (gap - 1))
    sorted_numbers = np.concatenate(numbers)
    del numbers, owners
    sorted_numbers.sort()
    weights = (settings.fading ** np.arange(window))[sorted_numbers % window]
    sorted_numbers //= window
    begins = np.flatnonzero(np.diff(sorted_numbers, prepend=-1))
    sums = np.add.reduceat(weights, begins) if len(begins) else weights
    pairs = sorted_numbers[begins]
    return (pairs // size).astype(np.int32), (pairs % size).astype(np.int32), sums


def _heaviest(graph: Graph, count: int) -> Graph:
    """The graph with the heaviest `count` edges of each row; equal weights by row."""
    degrees = np.diff(graph.starts)
    kept = np.ones(len(graph.weights), np.bool_)
    for row in np.flatnonzero(degrees > count).tolist():
        of_row = kept[graph.starts[row] : graph.starts[row + 1]]
        of_row[:] = False
        of_row[top_rows(graph.edges_of(row).scores, count)] = True
    lengths = np.minimum(degrees, count)
    starts = np.append(starts_of(lengths), lengths.sum())
    return Graph(starts, graph.neighbours[kept], graph.weights[kept])


class Transitions:
    """What lies around a user's last purchases in the graph."""

    def __init__(
        self,
        graph: Graph,
        catalogue: Catalogue,
        settings: TransitionsSettings,
        times_bought: Ints | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._times_bought = times_bought
        self._settings = settings
        self._graph = graph
        self._hops = [hop for hop in (settings.first_hop, settings.second_hop) if hop]
        reached = min(len(catalogue), settings.neighbours**2)
        self._reach = cached_by_row(self._reach_of, entry_bytes=_ENTRY_BYTES * reached)

    def rank(self, request: RankRequest) -> RankingTable:
        """Everybody's list by the module's formula; what nothing reaches is left out."""
        return rank_by_recent(
            request,
            self._catalogue,
            self._score,
            settings=self._settings,
            times_bought=self._times_bought,
        )

    def _score(self, items: Sequence[ItemId]) -> tuple[SparseScores, Contributions]:
        reach = [self._reach(self._catalogue.row(item)) for item in items]
        recency = recency_weights(len(items), self._settings.decay)  # (purchases,)
        totals = [self._sum(of_hop, recency) for of_hop in zip(*reach, strict=True)]
        largest = [total.scores.max(initial=0) or 1 for total in totals]
        scales = np.array(self._hops) / largest  # (hops,)
        return self._sum(totals, scales), partial(_contributions, reach, np.outer(recency, scales))

    def _sum(self, parts: Sequence[SparseScores], weights: Array) -> SparseScores:
        return SparseScores.weighted_sum(parts, weights.tolist(), size=len(self._catalogue))

    def _reach_of(self, row: int) -> tuple[SparseScores, ...]:
        """What one step and two steps from an item reach, e A and e A A, as far as they count."""
        near = self._graph.edges_of(row)
        first = (near,) if self._settings.first_hop else ()
        second = (self._graph.spread(near),) if self._settings.second_hop else ()
        return first + second


def _contributions(reach: Sequence[Sequence[SparseScores]], weights: Array, rows: Ints) -> Array:
    """float64 (purchases, rows): what each purchase adds to the scores of these rows.

    reach: of each purchase, of each hop; weights: float64 (purchases, hops).
    """
    pairs = zip(reach, weights.tolist(), strict=True)
    return np.array(
        [
            sum(found.at(rows) * weight for found, weight in zip(hops, of_hops, strict=True))
            for hops, of_hops in pairs
        ]
    )


def _count(
    train: HistoryRows, catalogue: Catalogue, settings: TransitionsSettings
) -> Mapping[str, Array]:
    """What a bundle keeps of the purchases: the graph's arrays, by the names of its fields."""
    graph = build_graph(train, catalogue, settings)
    return {"starts": graph.starts, "neighbours": graph.neighbours, "weights": graph.weights}


def _spec(
    name: str, label: str, settings: type[TransitionsSettings]
) -> RankerSpec[TransitionsSettings]:
    def build(parts: RankerParts, settings: TransitionsSettings) -> Transitions:
        graph = Graph.of(parts.counts(spec, settings), name, items=len(parts.catalogue))
        return Transitions(graph, parts.catalogue, settings, parts.times_bought)

    spec = RankerSpec(name=name, label=label, settings=settings, build=build, count=_count)
    return spec


SPEC = _spec("transitions", "Transitions", TransitionsSettings)

SECOND_ORDER = _spec(
    "second-order-transitions", "Second-order transitions", SecondOrderTransitionsSettings
)
