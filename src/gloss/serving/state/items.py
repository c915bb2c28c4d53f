"""How the catalogue differs from the recommender's own: kept, and replayed at each start."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select

from gloss.data.catalogue import Catalogue, Item, ItemId
from gloss.serving.state.store import insert_for
from gloss.serving.state.tables import ITEMS

__all__ = ["CurrentItem", "ItemChange", "ItemChanges", "ItemEdit", "current_items", "edited_items"]

Columns = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ItemChange:
    """How an item is now. hidden: not recommended; removed: not in the catalogue either. title: in
    place of the recommender's own, None for that; columns: those that differ from its own."""

    item: ItemId
    hidden: bool = False
    removed: bool = False
    title: str | None = None
    columns: Columns | None = None

    @property
    def is_off(self) -> bool:
        """Whether it is not to be recommended."""
        return self.hidden or self.removed

    def over(self, own: Item | None) -> Item | None:
        """The item with its title and columns; None for one that has no title at all."""
        if own is None:
            return None if self.title is None else Item(self.item, self.title, self.columns or {})
        columns = own.columns if self.columns is None else {**own.columns, **self.columns}
        return Item(self.item, own.title if self.title is None else self.title, columns)


@dataclass(frozen=True, slots=True)
class ItemEdit:
    """What is asked to be changed of an item; None for what stays as it is."""

    item: ItemId
    hidden: bool | None = None
    removed: bool | None = None
    title: str | None = None
    columns: Columns | None = None

    def after(self, change: ItemChange | None) -> ItemChange:
        """The change that it makes of an earlier one.

        >>> hidden = ItemEdit(ItemId("a"), hidden=True).after(None)
        >>> ItemEdit(ItemId("a"), title="Kite").after(hidden)
        ItemChange(item='a', hidden=True, removed=False, title='Kite', columns=None)
        """
        old = change or ItemChange(self.item)
        return ItemChange(
            self.item,
            hidden=old.hidden if self.hidden is None else self.hidden,
            removed=old.removed if self.removed is None else self.removed,
            title=old.title if self.title is None else self.title,
            columns=_joined(old.columns, self.columns),
        )


def _joined(old: Columns | None, new: Columns | None) -> Columns | None:
    return old if new is None else {**(old or {}), **new}


class ItemChanges:
    """The catalogue changes of a state."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> dict[ItemId, ItemChange]:
        """Every change, in the order of the ids."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(ITEMS).order_by(ITEMS.c.item)).all()
        changes = (_change(*row) for row in rows)
        return {change.item: change for change in changes}

    def put(self, changes: Sequence[ItemChange]) -> None:
        """Keep changes, all or none, in place of earlier ones. They are on disk on return."""
        rows = [_row(change) for change in changes]
        statement = insert_for(self._engine, ITEMS).values(rows)
        newer = {name: statement.excluded[name] for name in rows[0] if name != "item"}
        with self._engine.begin() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["item"], set_=newer))


def _row(change: ItemChange) -> dict[str, Any]:
    return {
        "item": change.item,
        "hidden": change.hidden,
        "removed": change.removed,
        "title": change.title,
        "columns": None if change.columns is None else json.dumps(dict(change.columns)),
    }


def _change(
    item: str, hidden: bool, removed: bool, title: str | None, columns: str | None
) -> ItemChange:
    read = None if columns is None else json.loads(columns)
    return ItemChange(ItemId(item), hidden, removed, title, read)


@dataclass(frozen=True, slots=True)
class CurrentItem:
    """An item as it is now. A hidden one is not recommended."""

    item: Item
    hidden: bool = False


def edited_items(own: Catalogue, changes: Iterable[ItemChange]) -> list[Item]:
    """Items that were added, or have another title or other columns than the recommender's own.

    >>> own = Catalogue([Item(ItemId("a"), "Kite")])
    >>> changes = [ItemChange(ItemId("a"), hidden=True), ItemChange(ItemId("b"), title="Ball")]
    >>> edited_items(own, changes)
    [Item(id='b', title='Ball', columns={})]
    """
    edited = []
    for change in changes:
        before = own[own.row(change.item)] if change.item in own else None
        after = change.over(before)
        if after is not None and after != before:
            edited.append(after)
    return edited


def current_items(
    items: Iterable[Item], changes: Mapping[ItemId, ItemChange]
) -> Iterator[CurrentItem]:
    """Items without those that were removed. items: all that are served, edited as they are.

    >>> items = [Item(ItemId("a"), "Kite"), Item(ItemId("b"), "Ball")]
    >>> changes = {"a": ItemChange(ItemId("a"), removed=True)}
    >>> [each.item.title for each in current_items(items, changes)]
    ['Ball']
    """
    for item in items:
        change = changes.get(item.id)
        if change is None or not change.removed:
            yield CurrentItem(item, hidden=change is not None and change.hidden)
