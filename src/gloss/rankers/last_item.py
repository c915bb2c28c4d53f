"""Last-item search: the title of the last purchase is the query. GLoSS, arXiv 2506.01910."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import History
from gloss.rankers.ranker import Need, NoSettings, RankerParts, RankerSpec, RankRequest
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.table import RankingTable
from gloss.retrieval.retriever import Hit, Retriever
from gloss.retrieval.within import within

__all__ = ["SPEC", "LastItemSearch"]


@dataclass(frozen=True, slots=True)
class LastItemSearch:
    """The items that the title of the last purchase finds.

    catalogue: for titles, of everything that may have been bought.
    """

    catalogue: Catalogue
    retriever: Retriever

    def rank(self, request: RankRequest) -> RankingTable:
        """Everybody's list, in the order and with the scores of the retriever.

        With `exclude_seen` the search goes deeper, so that lists are full without what was bought;
        without it the last item itself stands first, as in the published system.
        """
        entries: list[tuple[RankedItem, ...]] = [()] * len(request.histories)
        retriever = within(self.retriever, request.allowed)
        for depth, numbers in _by_depth(request).items():
            items = [request.histories[number].items[-1] for number in numbers]
            titles = [self.catalogue.title(item) for item in items]
            found = retriever.search(titles, depth)
            for number, item, title, hits in zip(numbers, items, titles, found, strict=True):
                excluded = request.excluded(request.histories[number])
                kept = (hit for hit in hits if hit.item not in excluded)
                entries[number] = tuple(_entries(islice(kept, request.length), title, item))
        users = (history.user for history in request.histories)
        return RankingTable.of([Ranking(*pair) for pair in zip(users, entries, strict=True)])


def _by_depth(request: RankRequest) -> dict[int, list[int]]:
    """Who is searched for together: for each number of hits, the numbers of the histories.

    A list of 20 without 5 purchases needs 25 hits at most; 5 is rounded up to 8, a power of two, so
    that there are few groups.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for number, history in enumerate(request.histories):
        if history.items:
            groups[request.length + _rounded_up(request, history)].append(number)
    return groups


def _rounded_up(request: RankRequest, history: History) -> int:
    excluded = len(request.excluded(history))
    return 1 << (excluded - 1).bit_length() if excluded else 0


def _entries(hits: Iterable[Hit], title: str, last: ItemId) -> Iterator[RankedItem]:
    return (RankedItem(hit.item, hit.score, query=title, because=last) for hit in hits)


def _build(parts: RankerParts, settings: NoSettings) -> LastItemSearch:
    return LastItemSearch(_whatever_was_bought(parts), parts.retriever)


def _whatever_was_bought(parts: RankerParts) -> Catalogue:
    """The items of the index, and those of the data set that were removed from it."""
    items = parts.items
    removed = [item for item in parts.catalogue if item.id not in items]
    return Catalogue([*items, *removed]) if removed else items


def _needs(settings: NoSettings) -> frozenset[Need]:
    return frozenset({"index"})


SPEC = RankerSpec(
    name="last-item", label="Last-item search", settings=NoSettings, build=_build, needs=_needs
)
