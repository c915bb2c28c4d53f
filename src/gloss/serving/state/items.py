"""How the catalogue differs from the recommender's own: kept, and replayed at each start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, select

from gloss.data.catalogue import Item, ItemId
from gloss.serving.state.store import insert_for
from gloss.serving.state.tables import ITEMS

__all__ = ["CurrentItem", "ItemChange", "ItemChanges", "current_items"]


@dataclass(frozen=True, slots=True)
class ItemChange:
    """How an item is shown now. hidden: not recommended; removed: not in the catalogue either."""

    item: ItemId
    hidden: bool = False
    removed: bool = False

    @property
    def is_off(self) -> bool:
        """Whether it is not to be recommended."""
        return self.hidden or self.removed


class ItemChanges:
    """The catalogue changes of a state."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> dict[ItemId, ItemChange]:
        """Every change, in the order of the ids."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(ITEMS).order_by(ITEMS.c.item)).all()
        changes = (ItemChange(ItemId(row[0]), *row[1:]) for row in rows)
        return {change.item: change for change in changes}

    def put(self, changes: Sequence[ItemChange]) -> None:
        """Keep changes, all or none, in place of earlier ones. They are on disk on return."""
        rows = [
            {
                "item": each.item,
                "hidden": each.hidden,
                "removed": each.removed,
            }
            for each in changes
        ]
        statement = insert_for(self._engine, ITEMS).values(rows)
        newer = {name: statement.excluded[name] for name in rows[0] if name != "item"}
        with self._engine.begin() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["item"], set_=newer))


@dataclass(frozen=True, slots=True)
class CurrentItem:
    """An item as it is now. A hidden one is not recommended."""

    item: Item
    hidden: bool = False


def current_items(
    own: Iterable[Item], changes: Mapping[ItemId, ItemChange]
) -> Iterator[CurrentItem]:
    """The recommender's items as they are now.

    >>> own = [Item(ItemId("a"), "Kite"), Item(ItemId("b"), "Ball")]
    >>> changes = {"a": ItemChange(ItemId("a"), removed=True)}
    >>> [each.item.title for each in current_items(own, changes)]
    ['Ball']
    """
    for item in own:
        change = changes.get(item.id)
        if change is None or not change.removed:
            yield CurrentItem(item, hidden=change is not None and change.hidden)
