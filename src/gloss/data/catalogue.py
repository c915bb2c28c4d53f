"""The catalogue: what can be recommended. Knows items and their titles; knows no users."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NewType

from gloss.artifacts import fingerprint_of
from gloss.errors import InputError

__all__ = ["Catalogue", "Item", "ItemId"]

ItemId = NewType("ItemId", str)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that can be bought, the title that it is known by, and what else is known of it:
    columns of the catalogue by name (group, category, price, …), typed."""

    id: ItemId
    title: str
    columns: Mapping[str, Any] = field(default_factory=dict, hash=False)


class Catalogue:
    """Items in a fixed order; a row is an item's place in it.

    >>> catalogue = Catalogue([Item(ItemId("b1"), "Red kite"), Item(ItemId("b2"), "Red kite")])
    >>> catalogue.row(ItemId("b2")), catalogue.rows_of_title("Red kite")
    (1, (0, 1))

    Raises InputError when it is empty or an id stands in it twice.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self.items = tuple(items)
        self._rows = {item.id: row for row, item in enumerate(self.items)}
        if not self.items:
            raise InputError("the catalogue is empty: there is nothing to recommend")
        if len(self._rows) != len(self.items):
            raise InputError("the catalogue holds an item id twice")

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __getitem__(self, row: int) -> Item:
        return self.items[row]

    def __contains__(self, item: ItemId) -> bool:
        return item in self._rows

    def row(self, item: ItemId) -> int:
        """The item's place; KeyError if it is not in the catalogue."""
        return self._rows[item]

    def title(self, item: ItemId) -> str:
        """The item's title; KeyError if it is not in the catalogue."""
        return self.items[self._rows[item]].title

    def rows_of_title(self, title: str) -> tuple[int, ...]:
        """Every row with exactly this title, in order; empty if there is none."""
        return self._rows_of_title.get(title, ())

    @cached_property
    def titles(self) -> tuple[str, ...]:
        """The distinct titles, in the order in which they first stand."""
        return tuple(self._rows_of_title)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of ids and titles in order: what an index or a model is bound to."""
        return fingerprint_of(*(text for item in self.items for text in (item.id, item.title)))

    @cached_property
    def _rows_of_title(self) -> dict[str, tuple[int, ...]]:
        rows: dict[str, list[int]] = {}
        for row, item in enumerate(self.items):
            rows.setdefault(item.title, []).append(row)
        return {title: tuple(found) for title, found in rows.items()}
