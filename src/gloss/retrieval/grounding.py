"""Grounding: from a user's generated titles to one ranked list of items of the catalogue.

A retriever finds items for each title (`ground`), and a rule fuses what the titles of one user
found (`FUSIONS`). Equal scores go by beam; beam-order then takes the hits as the retriever orders
them, the other rules go by row of the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice, zip_longest
from operator import attrgetter

from gloss.config import TitleFusion
from gloss.data.catalogue import ItemId
from gloss.data.generations import Generation, Query
from gloss.errors import ConfigError, did_you_mean
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.retrieval.retriever import RRF_CONSTANT, Hit, Retriever

__all__ = [
    "FUSIONS",
    "FusionFunction",
    "deeper",
    "fuse",
    "fuse_all",
    "ground",
    "rank",
    "ungrounded",
]

_row_of = attrgetter("row")

_ranked_item = partial(tuple.__new__, RankedItem)
"""Makes a RankedItem from all four fields in half the time of its own `__new__`."""

QueryHits = tuple[Query, Sequence[Hit]]
"""A query and its hits, best first."""

Credited = tuple[float, Query, Hit]
"""An item's fused score, and the query and the hit that are credited with it."""

FusionFunction = Callable[[Sequence[QueryHits]], Iterable[Credited]]
"""A user's queries in beam order -> every item once, best first, computed as far as it is read."""


def _best_score(queries: Sequence[QueryHits]) -> Iterable[Credited]:
    """score(item) = max_q score(item, q).

    PAPER does this for BM25, although BM25's scores of different queries do not compare.
    """
    best: dict[ItemId, Credited] = {}
    for query, hits in queries:
        for hit in hits:
            credited = hit.score, query, hit
            if hit.item not in best or _order(credited) < _order(best[hit.item]):
                best[hit.item] = credited
    return sorted(best.values(), key=_order)


def _last(queries: Sequence[QueryHits]) -> Iterable[Credited]:
    """score(item) = score(item, q) of the last q that found it, as PAPER does for dense search."""
    last = {hit.item: (hit.score, query, hit) for query, hits in queries for hit in hits}
    return sorted(last.values(), key=_order)


def _beam_order(queries: Sequence[QueryHits]) -> Iterable[Credited]:
    """Every query's best hit in beam order, then every query's second-best, and so on (FAIR).

    So variants of one title, which a query finds equally well, do not fill the list: the second
    one waits until every query has had its first. The score is the query's log-probability or,
    where that is unknown, minus its beam. Scores do not always fall along the list, because depth
    comes first.
    """
    scores = [(query, _log_probability(query)) for query, _ in queries]
    listed: set[ItemId] = set()
    for depth in zip_longest(*(hits for _, hits in queries)):
        for (query, score), hit in zip(scores, depth, strict=True):
            if hit is not None and hit.item not in listed:
                listed.add(hit.item)
                yield score, query, hit


def _reciprocal_rank(queries: Sequence[QueryHits]) -> Iterable[Credited]:
    """score(item) = Σ_q 1 / (60 + rank of the item in the hits of q), equal scores sharing a rank.

    Cormack, Clarke and Büttcher, SIGIR 2009. The query that ranks the item highest is credited.
    """
    sums: dict[ItemId, float] = {}
    highest: dict[ItemId, tuple[int, Query, Hit]] = {}
    for query, hits in queries:
        for rank, ties in enumerate(_by_score(hits), 1):
            for hit in ties:
                item = hit.item
                sums[item] = sums.get(item, 0.0) + 1 / (RRF_CONSTANT + rank)
                if item not in highest or rank < highest[item][0]:
                    highest[item] = rank, query, hit
    credited = [(sums[item], query, hit) for item, (_, query, hit) in highest.items()]
    return sorted(credited, key=_order)


def _order(credited: Credited) -> tuple[float, int, int]:
    """The sort key: score, then beam, then row."""
    score, query, hit = credited
    return -score, query.beam, hit.row


def _by_score(hits: Sequence[Hit]) -> Iterator[Sequence[Hit]]:
    """The hits grouped by score, best first, each group by row."""
    start = 0
    for end in range(1, len(hits) + 1):
        if end == len(hits) or hits[end].score != hits[start].score:
            ties = hits[start:end]
            yield ties if len(ties) == 1 else sorted(ties, key=_row_of)
            start = end


def _log_probability(query: Query) -> float:
    return query.logprob if query.logprob is not None else float(-query.beam)


FUSIONS: Mapping[TitleFusion, FusionFunction] = {
    "best-score": _best_score,
    "last": _last,
    "beam-order": _beam_order,
    "reciprocal-rank": _reciprocal_rank,
}


def fuse(
    generation: Generation,
    hits_per_query: Sequence[Sequence[Hit]],
    rule: str,
    *,
    exclude: Collection[ItemId] = frozenset(),
    length: int,
) -> Ranking:
    """One user's list: the hits of all queries, fused by a rule of `FUSIONS`.

    hits_per_query: in the order of `generation.queries`. Items of `exclude` are left out after the
    rule has ordered them; the first `length` of the others are kept. Raises ConfigError for an
    unknown rule.

    >>> generation = Generation("u", (), (Query("red kite", 0, -0.1), Query("tea", 1, -0.7)))
    >>> kites, tea = [Hit("b1", 0, 2.0), Hit("b2", 1, 1.5)], [Hit("b9", 8, 3.0)]
    >>> [entry.item for entry in fuse(generation, [kites, tea], "beam-order", length=3).entries]
    ['b1', 'b9', 'b2']
    >>> [entry.item for entry in fuse(generation, [kites, tea], "best-score", length=3).entries]
    ['b9', 'b1', 'b2']
    """
    queries = sorted(
        zip(generation.queries, hits_per_query, strict=True), key=lambda pair: pair[0].beam
    )
    entries = (
        _ranked_item((hit.item, score, query.text, None))
        for score, query, hit in _function(rule)(queries)
        if hit.item not in exclude
    )
    return Ranking(generation.user, tuple(islice(entries, length)))


def ground(
    generations: Iterable[Generation], retriever: Retriever, *, per_query: int
) -> dict[str, tuple[Hit, ...]]:
    """At most `per_query` hits for every distinct generated text, found in one search call."""
    texts = list(dict.fromkeys(query.text for each in generations for query in each.queries))
    return dict(zip(texts, retriever.search(texts, per_query), strict=True))


def ungrounded(generations: Iterable[Generation], hits: Mapping[str, Sequence[Hit]]) -> int:
    """How many queries found nothing: empty ones, and those without a known word."""
    return sum(not hits[query.text] for each in generations for query in each.queries)


def fuse_all(
    generations: Iterable[Generation],
    hits: Mapping[str, Sequence[Hit]],
    *,
    rule: str,
    length: int,
    exclude_seen: bool,
) -> tuple[Ranking, ...]:
    """Every user's list, from the hits that `ground` found; in the order of the generations."""
    _function(rule)  # an unknown rule is an error also where there are no users
    return tuple(
        fuse(
            generation,
            [hits[query.text] for query in generation.queries],
            rule,
            exclude=frozenset(generation.history) if exclude_seen else frozenset(),
            length=length,
        )
        for generation in generations
    )


def deeper(per_query: int, *, length: int) -> int:
    """How many hits to take for each title where those of `per_query` leave a list too short."""
    return max(per_query, 2 * length)


def rank(
    generations: Sequence[Generation],
    retriever: Retriever,
    *,
    rule: str,
    per_query: int,
    length: int,
    exclude_seen: bool,
) -> tuple[Ranking, ...]:
    """Every user's list, from generated titles: `ground`, then `fuse_all`.

    per_query: items taken for each title, before purchased items are left out. A user whose titles
    find nothing has an empty list.
    """
    hits = ground(generations, retriever, per_query=per_query)
    return fuse_all(generations, hits, rule=rule, length=length, exclude_seen=exclude_seen)


def _function(rule: str) -> FusionFunction:
    for name, function in FUSIONS.items():
        if name == rule:
            return function
    raise ConfigError(f"unknown fusion {rule!r} ({did_you_mean(rule, FUSIONS)})")
