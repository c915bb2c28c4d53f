"""Last-item search: the title of the last purchase is the query."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice

from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import Example
from gloss.rankers.ranker import NoSettings, RankerSpec
from gloss.rankers.seen import seen_items
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.retrieval.retriever import Hit, Retriever

__all__ = ["SPEC", "last_item_search"]


def last_item_search(
    examples: Sequence[Example],
    catalogue: Catalogue,
    retriever: Retriever,
    *,
    length: int,
    exclude_seen: bool,
) -> tuple[Ranking, ...]:
    """Each user's list: the items that the title of the last purchase finds.

    With `exclude_seen` the search reaches deeper, so that lists are full without what was bought;
    without it the last item itself stands first, as in the published system. A user without a
    purchase has an empty list.
    """
    found = _hits_of_last_items(examples, catalogue, retriever, length, exclude_seen=exclude_seen)
    rankings = []
    for example, (title, hits) in zip(examples, found, strict=True):
        exclude = seen_items(example, exclude_seen=exclude_seen)
        kept = islice((hit for hit in hits if hit.item not in exclude), length)
        entries = tuple(RankedItem(hit.item, hit.score, title) for hit in kept)
        rankings.append(Ranking(example.user, entries))
    return tuple(rankings)


def _hits_of_last_items(
    examples: Sequence[Example],
    catalogue: Catalogue,
    retriever: Retriever,
    length: int,
    *,
    exclude_seen: bool,
) -> list[tuple[str, tuple[Hit, ...]]]:
    """The query and the hits of each example, searched in groups that reach equally deep."""
    groups: dict[int, list[int]] = defaultdict(list)
    for place, example in enumerate(examples):
        if example.history:
            groups[length + _reach(seen_items(example, exclude_seen=exclude_seen))].append(place)
    found: list[tuple[str, tuple[Hit, ...]]] = [("", ())] * len(examples)
    for k, places in groups.items():
        titles = [catalogue.title(examples[place].history[-1]) for place in places]
        hits = retriever.search(titles, k)
        for place, title, each in zip(places, titles, hits, strict=True):
            found[place] = (title, each)
    return found


def _reach(seen: frozenset[ItemId]) -> int:
    """The number of items to look past, rounded up to a power of two: few groups, no waste."""
    return 1 << (len(seen) - 1).bit_length() if seen else 0


SPEC = RankerSpec("last-item", "Last-item search", NoSettings)
