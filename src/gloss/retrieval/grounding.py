"""From the hits of a user's generated titles to one list of items: the one place that orders items.

Every rule breaks ties the same way: score, then beam, then row in the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from itertools import islice, zip_longest
from operator import attrgetter

from gloss.data.catalogue import ItemId
from gloss.data.generations import Generation, Query
from gloss.errors import ConfigError
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.retrieval.retriever import RRF_CONSTANT, Hit, Retriever

__all__ = [
    "FUSIONS",
    "Fuse",
    "fuse",
    "fuse_all",
    "ground",
    "rank",
    "ungrounded",
]

_ROW = attrgetter("row")


_ranked = partial(tuple.__new__, RankedItem)
"""From all four fields; RankedItem's own `__new__` takes twice as long."""


Asked = tuple[Query, Sequence[Hit]]
"""A query and what it found, best first."""

Placed = tuple[float, Query, Hit]
"""The score that a rule gives to an item, and the query and the hit that it is credited to."""

Fuse = Callable[[Sequence[Asked]], Iterable[Placed]]
"""A user's queries in beam order -> every item once, best first, made as far as it is read."""


def _best_score(asked: Sequence[Asked]) -> Iterable[Placed]:
    """An item's best score over the queries, as PAPER does for BM25 (although scores of different
    queries do not compare)."""
    best: dict[ItemId, Placed] = {}
    for query, hits in asked:
        for hit in hits:
            placed = hit.score, query, hit
            if hit.item not in best or _place(placed) < _place(best[hit.item]):
                best[hit.item] = placed
    return sorted(best.values(), key=_place)


def _last(asked: Sequence[Asked]) -> Iterable[Placed]:
    """An item's score for the last query that found it, as PAPER does for dense retrieval."""
    last = {hit.item: (hit.score, query, hit) for query, hits in asked for hit in hits}
    return sorted(last.values(), key=_place)


def _beam_order(asked: Sequence[Asked]) -> Iterable[Placed]:
    """Every query's best hits in beam order, then every query's second-best, and so on (FAIR).

    Hits of equal score for one query share a depth. The score is the query's log-probability;
    where it is unknown, minus the beam's number. It does not fall from entry to entry: depth
    comes first.
    """
    queries = [(query, _likelihood(query)) for query, _ in asked]
    listed: set[ItemId] = set()
    for depth in zip_longest(*(_by_depth(hits) for _, hits in asked), fillvalue=()):
        for (query, likelihood), hits in zip(queries, depth, strict=True):
            for hit in hits:
                if hit.item not in listed:
                    listed.add(hit.item)
                    yield likelihood, query, hit


def _reciprocal_rank(asked: Sequence[Asked]) -> Iterable[Placed]:
    """The sum over the queries of 1 / (60 + rank), equal scores sharing a rank; credited to the
    query that ranks the item highest."""
    sums: dict[ItemId, float] = {}
    highest: dict[ItemId, tuple[int, Query, Hit]] = {}
    for query, hits in asked:
        for rank, ties in enumerate(_by_depth(hits), 1):
            for hit in ties:
                item = hit.item
                sums[item] = sums.get(item, 0.0) + 1 / (RRF_CONSTANT + rank)
                if item not in highest or rank < highest[item][0]:
                    highest[item] = rank, query, hit
    placed = [(sums[item], query, hit) for item, (_, query, hit) in highest.items()]
    return sorted(placed, key=_place)


def _place(placed: Placed) -> tuple[float, int, int]:
    score, query, hit = placed
    return -score, query.beam, hit.row


def _by_depth(hits: Sequence[Hit]) -> Iterator[Sequence[Hit]]:
    """The hits of the best score, by row, then those of the next lower one, …"""
    start = 0
    for end in range(1, len(hits) + 1):
        if end == len(hits) or hits[end].score != hits[start].score:
            ties = hits[start:end]
            yield ties if len(ties) == 1 else sorted(ties, key=_ROW)
            start = end


FUSIONS: Mapping[str, Fuse] = {
    "best-score": _best_score,
    "last": _last,
    "beam-order": _beam_order,
    "rrf": _reciprocal_rank,
}


def fuse(
    generation: Generation,
    hits_per_query: Sequence[Sequence[Hit]],
    rule: str,
    *,
    exclude: Collection[ItemId] = frozenset(),
    length: int,
) -> Ranking:
    """One user's list: the hits of each query, joined by a rule of `FUSIONS`.

    hits_per_query: in the order of `generation.queries`. Items of `exclude` are left out after the
    rule has ordered them; the first `length` of the rest stay. Raises ConfigError for an unknown
    rule.
    """
    asked = sorted(
        zip(generation.queries, hits_per_query, strict=True), key=lambda pair: pair[0].beam
    )
    entries = (
        _ranked((hit.item, score, query.text, None))
        for score, query, hit in _rule(rule)(asked)
        if hit.item not in exclude
    )
    return Ranking(generation.user, tuple(islice(entries, length)))


def ground(
    generations: Iterable[Generation], retriever: Retriever, *, per_query: int
) -> dict[str, tuple[Hit, ...]]:
    """At most `per_query` hits for every distinct generated text, all found in one search call."""
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
    """Everybody's list, from hits that `ground` found; in the order of the generations."""
    _rule(rule)
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


def rank(
    generations: Sequence[Generation],
    retriever: Retriever,
    *,
    rule: str,
    per_query: int,
    length: int,
    exclude_seen: bool,
) -> tuple[Ranking, ...]:
    """Everybody's list, from generated titles: `ground`, then `fuse_all`.

    per_query: items taken for each title, before those already bought are left out. A user whose
    titles all find nothing has an empty list.
    """
    hits = ground(generations, retriever, per_query=per_query)
    return fuse_all(generations, hits, rule=rule, length=length, exclude_seen=exclude_seen)


def _rule(name: str) -> Fuse:
    if name in FUSIONS:
        return FUSIONS[name]
    near = get_close_matches(name, FUSIONS, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"unknown fusion {name!r}, known are {', '.join(FUSIONS)}{hint}")


def _likelihood(query: Query) -> float:
    return query.logprob if query.logprob is not None else float(-query.beam)
