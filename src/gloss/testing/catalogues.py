"""Catalogues of a few titles."""

from __future__ import annotations

from collections.abc import Sequence

from gloss.data.catalogue import Catalogue, Item, ItemId

__all__ = ["TITLES", "catalogue_of"]

TITLES = (
    "Red kite",
    "Blue kite with a long tail",
    "Red ball",
    "Red kite",
    "Tea pot",
    "The Of And",
    "Red red kite, red",
    "<b>Salt</b> &amp; pepper 🧂",
)
"""Titles with what goes wrong: one that two items share, one of stop words only, markup, emoji."""


def catalogue_of(titles: Sequence[str]) -> Catalogue:
    """The items b0, b1, … with these titles.

    >>> catalogue_of(["Kite", "Ball"]).title("b1")
    'Ball'
    """
    return Catalogue(Item(ItemId(f"b{row}"), title) for row, title in enumerate(titles))
