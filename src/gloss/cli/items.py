"""`gloss items add`, `gloss items remove`: a catalogue that changes, without a rebuild."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gloss.cli.options import Json, Out
from gloss.errors import ConfigError

if TYPE_CHECKING:
    from gloss.data.catalogue import Item, ItemId

__all__ = ["register"]

OldIndex = Annotated[Path, typer.Option("-i", "--index", help="Made by `gloss index`.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(help="Add items to an index, or remove some.", no_args_is_help=True)
    group.command()(add)
    group.command()(remove)
    app.add_typer(group, name="items")


def add(
    index: OldIndex,
    out: Out,
    items: Annotated[
        Path | None,
        typer.Option("--items", help="A table with columns item and title (CSV, JSONL, Parquet)."),
    ] = None,
    item: Annotated[
        list[str] | None, typer.Option("--item", help="An item's id; one --title for each.")
    ] = None,
    title: Annotated[
        list[str] | None, typer.Option("--title", help="An item's title; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Add items to an index; only their titles are encoded. OUT may be INDEX itself.

    Example: gloss items add -i indexes/toys --item b99 --title "Red kite" -o indexes/toys
    """
    from gloss.cli import output
    from gloss.experiment import stages

    new = _items(items, item or [], title or [])
    with output.announce("items") as progress:
        made = stages.add_items(index, new, out, progress=progress)
    output.print_made(made, json=json)


def remove(
    index: OldIndex,
    out: Out,
    item: Annotated[list[str], typer.Option("--item", help="An item's id; may be repeated.")],
    json: Json = False,
) -> None:
    """Remove items from an index; nothing is encoded. OUT may be INDEX itself.

    Example: gloss items remove -i indexes/toys --item b99 -o indexes/toys
    """
    from gloss.cli import output
    from gloss.experiment import stages

    removed = [_item_id(each) for each in item]
    with output.announce("items"):
        made = stages.remove_items(index, removed, out)
    output.print_made(made, json=json)


def _items(table: Path | None, ids: list[str], titles: list[str]) -> list[Item]:
    from gloss.data.catalogue import Item, ItemId
    from gloss.data.readers.tables import read_item_table

    if len(ids) != len(titles):
        raise ConfigError(f"{len(ids)} --item and {len(titles)} --title: give one for each")
    if not ids and table is None:
        raise ConfigError("nothing to add: give --items FILE, or --item and --title")
    new = [
        Item(_item_id(item), _title(item, title)) for item, title in zip(ids, titles, strict=True)
    ]
    if table is not None:
        new += [Item(ItemId(item), title) for item, title in read_item_table(table).iter_rows()]
    return new


def _item_id(text: str) -> ItemId:
    """An id as tables are read: a value, without what cannot be seen around it."""
    from gloss.data.catalogue import ItemId
    from gloss.data.readers.ids import canonical_id
    from gloss.data.readers.lines import BadLine

    try:
        return ItemId(canonical_id(text, "--item"))
    except BadLine as reason:
        raise ConfigError(f"{text!r}: {reason}") from None


def _title(item: str, text: str) -> str:
    """A title as tables are read: repaired, and with a word in it."""
    from gloss.data.readers.lines import repair_text
    from gloss.data.titles import has_words

    title = repair_text(text)
    if not has_words(title):
        raise ConfigError(f"--title {text!r} of {item} has no word, and nothing to be found by")
    return title
