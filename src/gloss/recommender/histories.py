"""What somebody has bought, as it was typed: ids of items, titles, and texts that are neither.

Knows a catalogue; knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import History, UserId
from gloss.data.titles import TitleStyle, clean_title

__all__ = ["ReadHistory", "read_history"]


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """A history, earliest first.

    items: the purchases that the catalogue knows; titles: of all purchases, as a language model
    reads them; unknown: those among the titles that the catalogue lacks.
    """

    user: UserId
    items: tuple[ItemId, ...]
    titles: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def known(self) -> History:
        """What rankers are asked about."""
        return History(self.user, self.items)


def read_history(
    user: str, purchases: Sequence[str], catalogue: Catalogue, style: TitleStyle
) -> ReadHistory:
    """Read purchases that are ids or titles. An id goes before a title that reads like one.

    A title counts as a purchase of every item of that title.
    """
    items: list[ItemId] = []
    titles: list[str] = []
    unknown: list[str] = []
    for purchase in purchases:
        item = ItemId(purchase.strip())
        if item in catalogue:
            items.append(item)
            titles.append(catalogue.title(item))
            continue
        title = clean_title(purchase, style)
        if not title:
            continue
        rows = catalogue.rows_of_title(title)
        items += [catalogue[row].id for row in rows]
        titles.append(title)
        if not rows:
            unknown.append(title)
    return ReadHistory(UserId(user), tuple(items), tuple(titles), tuple(unknown))
