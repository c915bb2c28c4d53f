"""The catalogue as people page through it and search it while they type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from gloss.data.catalogue import ItemId
from gloss.serving.state.items import CurrentItem

__all__ = ["CatalogueView"]


class CatalogueView:
    """Items in their order, found by id and by the beginnings of the words of their titles.

    >>> from gloss.data.catalogue import Item
    >>> view = CatalogueView([CurrentItem(Item("a", "Red kite")), CurrentItem(Item("b", "Ball"))])
    >>> [each.item.id for each in view.page(query="ki re")]
    ['a']
    """

    def __init__(self, items: Iterable[CurrentItem]) -> None:
        self._items = tuple(items)
        self._places = {each.item.id: place for place, each in enumerate(self._items)}
        self._texts = [f" {each.item.title} {each.item.id}".casefold() for each in self._items]

    def __len__(self) -> int:
        return len(self._items)

    def get(self, item: ItemId) -> CurrentItem | None:
        """The item of this id; None if there is none."""
        place = self._places.get(item)
        return None if place is None else self._items[place]

    def page(
        self, *, query: str = "", after: ItemId | None = None, limit: int = 50
    ) -> Sequence[CurrentItem]:
        """The first items, or those after another one, that hold words beginning so."""
        begin = self._places.get(after, -1) + 1 if after is not None else 0
        return list(islice(self._matching(query, begin), limit))

    def _matching(self, query: str, begin: int) -> Iterator[CurrentItem]:
        words = [f" {word}" for word in query.casefold().split()]
        for place in range(begin, len(self._items)):
            text = self._texts[place]
            if all(word in text for word in words):
                yield self._items[place]
