"""From the hits of a user's generated titles to one list of items: the one place that orders items.

Every rule breaks ties the same way: score, then beam, then row in the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby

from gloss.data.catalogue import ItemId
from gloss.data.histories import UserId
from gloss.decoding.generations import Generation, Query
from gloss.errors import ConfigError
from gloss.retrieval.index import Hit, Retriever

__all__ = [
    "FUSIONS",
    "Found",
    "Fuse",
    "Placed",
    "RankedItem",
    "Ranking",
    "fuse",
    "fuse_all",
    "ground",
    "rank",
    "ungrounded",
]

_RRF_CONSTANT = 60
"""Cormack, Clarke and Büttcher, SIGIR 2009."""


@dataclass(frozen=True, slots=True)
class RankedItem:
    """An item in a user's list, and why it is there.

    query: the generated title that put it there, if one did. because: the bought item that did.
    """

    item: ItemId
    score: float
    query: str | None = None
    because: ItemId | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """A user's list, best first, without repeats; the order is final."""

    user: UserId
    entries: tuple[RankedItem, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A hit with the query that found it. depth: 0 for its best score, 1 for the next lower, …"""

    hit: Hit
    query: Query
    depth: int


@dataclass(frozen=True, slots=True)
class Placed:
    """An item with the score that a rule gives it, and the finding that it is credited to."""

    score: float
    found: Found

    @property
    def key(self) -> tuple[float, int, int]:
        return -self.score, self.found.query.beam, self.found.hit.row


Fuse = Callable[[Sequence[Found]], list[Placed]]
"""All findings of a user, in beam order, each query's best first -> every item once, best first."""


def _best_score(found: Sequence[Found]) -> list[Placed]:
    """An item's best score over the queries, as PAPER does for BM25 (although scores of different
    queries do not compare)."""
    best: dict[ItemId, Placed] = {}
    for each in found:
        placed = Placed(each.hit.score, each)
        item = each.hit.item
        if item not in best or placed.key < best[item].key:
            best[item] = placed
    return sorted(best.values(), key=lambda placed: placed.key)


def _last(found: Sequence[Found]) -> list[Placed]:
    """An item's score for the last query that found it, as PAPER does for dense retrieval."""
    last = {each.hit.item: Placed(each.hit.score, each) for each in found}
    return sorted(last.values(), key=lambda placed: placed.key)


def _beam_order(found: Sequence[Found]) -> list[Placed]:
    """Every query's best hits in beam order, then every query's second-best, and so on (FAIR).

    Hits of equal score for one query share a depth. The score is the query's log-probability;
    where it is unknown, minus the beam's number. It does not fall from entry to entry: depth
    comes first.
    """
    first: dict[ItemId, Found] = {}
    for each in sorted(found, key=lambda f: (f.depth, f.query.beam, f.hit.row)):
        first.setdefault(each.hit.item, each)
    return [Placed(_likelihood(each.query), each) for each in first.values()]


def _reciprocal_rank(found: Sequence[Found]) -> list[Placed]:
    """The sum over the queries of 1 / (60 + rank), equal scores sharing a rank; credited to the
    query that ranks the item highest."""
    sums: dict[ItemId, float] = {}
    highest: dict[ItemId, Found] = {}
    for each in found:
        item = each.hit.item
        sums[item] = sums.get(item, 0.0) + 1 / (_RRF_CONSTANT + each.depth + 1)
        if item not in highest or each.depth < highest[item].depth:
            highest[item] = each
    placed = [Placed(sums[item], each) for item, each in highest.items()]
    return sorted(placed, key=lambda each: each.key)


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
    found = _findings(generation.queries, hits_per_query)
    placed = (each for each in _rule(rule)(found) if each.found.hit.item not in exclude)
    entries = (
        RankedItem(each.found.hit.item, each.score, each.found.query.text) for each in placed
    )
    return Ranking(generation.user, tuple(entries)[:length])


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


def _findings(queries: Sequence[Query], hits_per_query: Sequence[Sequence[Hit]]) -> list[Found]:
    pairs = sorted(zip(queries, hits_per_query, strict=True), key=lambda pair: pair[0].beam)
    return [
        Found(hit, query, depth)
        for query, hits in pairs
        for depth, (_, ties) in enumerate(groupby(hits, key=lambda hit: hit.score))
        for hit in ties
    ]


def _likelihood(query: Query) -> float:
    return query.logprob if query.logprob is not None else float(-query.beam)
