"""`gloss items add`, `gloss items remove`: a catalogue that changes, without a rebuild."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gloss.cli.options import Json, Out
from gloss.errors import ConfigError

if TYPE_CHECKING:
    from gloss.data.catalogue import Item

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
    from gloss.data.catalogue import ItemId
    from gloss.experiment import stages

    with output.announce("items"):
        made = stages.remove_items(index, [ItemId(each) for each in item], out)
    output.print_made(made, json=json)


def _items(table: Path | None, ids: list[str], titles: list[str]) -> list[Item]:
    from gloss.data.catalogue import Item, ItemId
    from gloss.data.readers.tables import read_item_table

    if len(ids) != len(titles):
        raise ConfigError(f"{len(ids)} --item and {len(titles)} --title: give one for each")
    if not ids and table is None:
        raise ConfigError("nothing to add: give --items FILE, or --item and --title")
    rows = [*zip(ids, titles, strict=True)]
    if table is not None:
        rows += read_item_table(table).iter_rows()
    return [Item(ItemId(item), title) for item, title in rows]
