from __future__ import annotations

import pytest

from gloss.data.catalogue import Catalogue, Item, ItemId
from gloss.errors import InputError


def catalogue(*items: tuple[str, str]) -> Catalogue:
    return Catalogue(Item(ItemId(item), title) for item, title in items)


def test_rows_are_places_in_the_given_order() -> None:
    shop = catalogue(("b", "Kite"), ("a", "Ball"))
    assert [shop.row(item.id) for item in shop] == [0, 1]
    assert shop.title(ItemId("a")) == "Ball"
    assert shop[0].id == "b"
    assert len(shop) == 2
    assert ItemId("a") in shop
    assert ItemId("c") not in shop


def test_a_shared_title_means_every_row_in_order() -> None:
    shop = catalogue(("c", "Kite"), ("a", "Ball"), ("b", "Kite"))
    assert shop.rows_of_title("Kite") == (0, 2)
    assert shop.rows_of_title("kite") == ()
    assert shop.titles == ("Kite", "Ball")


def test_an_unknown_item_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        catalogue(("a", "Kite")).row(ItemId("b"))


def test_an_empty_catalogue_and_a_doubled_id_are_refused() -> None:
    with pytest.raises(InputError, match="empty"):
        catalogue()
    with pytest.raises(InputError, match="twice"):
        catalogue(("a", "Kite"), ("a", "Ball"))


def test_fingerprint_hangs_on_ids_titles_and_order() -> None:
    prints = {
        catalogue(("a", "Kite"), ("b", "Ball")).fingerprint,
        catalogue(("b", "Ball"), ("a", "Kite")).fingerprint,
        catalogue(("a", "Kite"), ("b", "Balls")).fingerprint,
        catalogue(("aK", "ite"), ("b", "Ball")).fingerprint,
    }
    assert len(prints) == 4
    again = catalogue(("a", "Kite"), ("b", "Ball"))
    assert again.fingerprint in prints
