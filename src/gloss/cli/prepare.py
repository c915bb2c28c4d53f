"""`gloss prepare`: from files of purchases to a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gloss.cli.options import Json, Out, SplitRuleName

__all__ = ["register"]

MaxBadLines = Annotated[
    int, typer.Option("--max-bad-lines", min=0, help="How many malformed lines to put up with.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(help="Make a data set from purchases.", no_args_is_help=True)
    group.command()(amazon)
    group.command()(table)
    group.command()(shop)
    app.add_typer(group, name="prepare")


def amazon(
    category: Annotated[
        str, typer.Option(help="beauty, toys, sports, or a name in the original files.")
    ],
    out: Out,
    source: Annotated[
        Path | None, typer.Option(help="A folder with the original files (default: download).")
    ] = None,
    mirror: Annotated[
        list[str] | None, typer.Option(help="Where to download from; may be repeated.")
    ] = None,
    split: SplitRuleName = "paper",
    max_bad_lines: MaxBadLines = 0,
    json: Json = False,
) -> None:
    """A category of the Amazon reviews of 2014 (five-core).

    Example: gloss prepare amazon --category toys --source ~/amazon2014 -o data/toys
    """
    from gloss.config import AmazonData
    from gloss.experiment.loading import checked

    settings = checked(
        AmazonData,
        source="amazon",
        category=category,
        folder=source,
        mirrors=tuple(mirror or ()),
        split=split,
        max_bad_lines=max_bad_lines,
    )
    _prepare(settings, out, json=json)


def table(
    interactions: Annotated[Path, typer.Option(help="Purchases: CSV, TSV, JSONL or Parquet.")],
    items: Annotated[Path, typer.Option(help="Titles: CSV, TSV, JSONL or Parquet.")],
    out: Out,
    user: Annotated[str, typer.Option(help="Column of the user.")] = "user",
    item: Annotated[str, typer.Option(help="Column of the item.")] = "item",
    time: Annotated[
        str, typer.Option(help='Column of the time; "" if the file is in order.')
    ] = "time",
    title: Annotated[str, typer.Option(help="Column of the title.")] = "title",
    item_in_items: Annotated[
        str | None, typer.Option(help="Column of the item in --items, if it differs.")
    ] = None,
    min_purchases: Annotated[
        int, typer.Option(min=0, help="Keep the k-core: at least this many each.")
    ] = 0,
    split: SplitRuleName = "paper",
    max_bad_lines: MaxBadLines = 0,
    json: Json = False,
) -> None:
    """Your own purchases and titles.

    Example: gloss prepare table --interactions log.csv --items items.csv -o data/mine
    """
    from gloss.config import TableData
    from gloss.experiment.loading import checked

    settings = checked(
        TableData,
        source="table",
        interactions=interactions,
        items=items,
        user=user,
        item=item,
        time=time or None,
        title=title,
        item_in_items=item_in_items,
        min_purchases=min_purchases,
        split=split,
        max_bad_lines=max_bad_lines,
    )
    _prepare(settings, out, json=json)


def shop(
    out: Out,
    users: Annotated[int, typer.Option(min=1, help="How many people buy there.")] = 3000,
    seed: Annotated[int, typer.Option(help="Another seed, another shop.")] = 0,
    split: SplitRuleName = "paper",
    json: Json = False,
) -> None:
    """The built-in synthetic shop.

    Example: gloss prepare shop -o data/shop
    """
    from gloss.config import ShopData
    from gloss.experiment.loading import checked

    _prepare(checked(ShopData, users=users, seed=seed, split=split), out, json=json)


def _prepare(settings: Any, out: Path, *, json: bool) -> None:
    from gloss.cli import output
    from gloss.experiment import stages

    with output.announce("prepare") as progress:
        made = stages.prepare(settings, out, progress=progress)
    output.print_made(made, json=json)
