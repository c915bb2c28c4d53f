"""`gloss prepare`: from files of purchases to a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gloss.cli.options import Json, Out, SplitRuleName, setting
from gloss.config import AmazonData, LogRules, PresetData, ShopData, TableData

__all__ = ["register"]

_DIALECT = "How files are written (detected, and said)"
_MEANING = "What columns mean"
_RULES = "What is kept"

MaxBadLines = Annotated[int, setting(LogRules, "max_bad_lines", panel=_RULES)]
Where = Annotated[str | None, setting(LogRules, "where", panel=_RULES)]
MinPurchases = Annotated[int, setting(LogRules, "min_purchases", panel=_RULES)]
MinUserPurchases = Annotated[int, setting(LogRules, "min_user_purchases", panel=_RULES)]
MinItemPurchases = Annotated[int, setting(LogRules, "min_item_purchases", panel=_RULES)]
DropRepeats = Annotated[bool, setting(LogRules, "drop_repeats", "--drop-repeats", panel=_RULES)]
UnknownShare = Annotated[float, setting(LogRules, "unknown_share", panel=_RULES)]
PresetFolder = Annotated[
    Path | None, typer.Option("--source", help="The folder with the files of the data set.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(
        help="Make a data set from purchases.", no_args_is_help=True, invoke_without_command=True
    )
    group.callback()(_group)
    group.command()(amazon)
    group.command()(table)
    group.command()(preset)
    group.command()(shop)
    app.add_typer(group, name="prepare")


def _group(
    context: typer.Context,
    preset_name: Annotated[
        str | None,
        typer.Option("--preset", help="A public data set; the same as `gloss prepare preset`."),
    ] = None,
    source: PresetFolder = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The folder to write.")] = None,
    where: Where = None,
    min_purchases: MinPurchases = 0,
    split: SplitRuleName = "paper",
    max_bad_lines: MaxBadLines = 0,
    json: Json = False,
) -> None:
    """Make a data set from purchases."""
    from gloss.errors import UsageError

    given = (preset_name, source, out, where)
    if context.invoked_subcommand is not None:
        if any(each is not None for each in given):
            raise UsageError(
                f"options stand after the command: gloss prepare {context.invoked_subcommand} …"
            )
        return
    if preset_name is None or source is None or out is None:
        raise UsageError("say --preset NAME, --source FOLDER and -o FOLDER, or name a command")
    preset(
        preset_name,
        out,
        source,
        where=where,
        min_purchases=min_purchases,
        split=split,
        max_bad_lines=max_bad_lines,
        json=json,
    )


def amazon(
    category: Annotated[str, setting(AmazonData, "category")],
    out: Out,
    source: Annotated[
        Path | None, typer.Option(help="A folder with the original files (default: download).")
    ] = None,
    edition: Annotated[Literal["2014", "2018", "2023"], setting(AmazonData, "edition")] = "2014",
    mirror: Annotated[
        list[str] | None, typer.Option(help="Where to download from; may be repeated.")
    ] = None,
    min_purchases: MinPurchases = 0,
    split: SplitRuleName = "paper",
    max_bad_lines: MaxBadLines = 0,
    json: Json = False,
) -> None:
    """A category of the Amazon reviews (2014: five-core).

    Example: gloss prepare amazon --category toys --source ~/amazon2014 -o data/toys
    """
    from gloss.experiment.loading import checked

    settings = checked(
        AmazonData,
        source="amazon",
        category=category,
        edition=edition,
        folder=source,
        mirrors=tuple(mirror or ()),
        min_purchases=min_purchases,
        split=split,
        max_bad_lines=max_bad_lines,
    )
    _prepare(settings, out, json=json)


def preset(
    name: Annotated[
        str,
        typer.Argument(
            help="hm, instacart, lastfm, mind, movielens-100k, movielens-1m, movielens-25m, "
            "online-retail, recbole, retailrocket, steam or yelp."
        ),
    ],
    out: Out,
    source: Annotated[
        Path, typer.Option("--source", help="The folder with the files of the data set.")
    ],
    where: Where = None,
    drop_repeats: DropRepeats = False,
    min_purchases: MinPurchases = 0,
    min_user_purchases: MinUserPurchases = 0,
    min_item_purchases: MinItemPurchases = 0,
    unknown_share: UnknownShare = 0.05,
    split: SplitRuleName = "paper",
    max_bad_lines: MaxBadLines = 0,
    json: Json = False,
) -> None:
    """A public data set, in a folder with its files as they are published (docs/data.md).

    Example: gloss prepare preset movielens-1m --source ~/ml-1m -o data/movies
    """
    from gloss.experiment.loading import checked

    settings = checked(
        PresetData,
        source="preset",
        preset=name,
        folder=source,
        **_given(where=where, drop_repeats=drop_repeats or None),
        min_purchases=min_purchases,
        min_user_purchases=min_user_purchases,
        min_item_purchases=min_item_purchases,
        unknown_share=unknown_share,
        split=split,
        max_bad_lines=max_bad_lines,
    )
    _prepare(settings, out, json=json)


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def table(
    interactions: Annotated[
        list[str],
        typer.Option(
            help="Purchases: a file, folder, glob, https:// address, database, hf://NAME, or - for "
            "standard input; may be repeated."
        ),
    ],
    out: Out,
    items: Annotated[
        list[str] | None,
        typer.Option(help="Titles, likewise (default: they stand beside the purchases)."),
    ] = None,
    sql: Annotated[str | None, setting(TableData, "sql")] = None,
    items_sql: Annotated[str | None, setting(TableData, "items_sql")] = None,
    user: Annotated[str, setting(TableData, "user", panel=_MEANING)] = "user",
    item: Annotated[str, setting(TableData, "item", panel=_MEANING)] = "item",
    time: Annotated[
        str,
        typer.Option(
            help='Column of the time; "" if the file is in order.', rich_help_panel=_MEANING
        ),
    ] = "time",
    title: Annotated[str, setting(TableData, "title", panel=_MEANING)] = "title",
    item_in_items: Annotated[
        str | None, setting(TableData, "item_in_items", panel=_MEANING)
    ] = None,
    group: Annotated[str | None, setting(TableData, "group", panel=_MEANING)] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help='A further column of items to keep; "*" for all; may be repeated.',
            rich_help_panel=_MEANING,
        ),
    ] = None,
    list_separator: Annotated[
        str | None, setting(TableData, "list_separator", panel=_MEANING)
    ] = None,
    time_format: Annotated[str | None, setting(TableData, "time_format", panel=_MEANING)] = None,
    time_unit: Annotated[
        Literal["s", "ms", "us", "ns", "none"] | None,
        setting(TableData, "time_unit", panel=_MEANING),
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(
            help='A word for no value, in place of "", NULL, nan, <NA> and \\N; may be repeated.',
            rich_help_panel=_MEANING,
        ),
    ] = None,
    drop_leading_zeros: Annotated[
        bool, setting(TableData, "drop_leading_zeros", "--drop-leading-zeros", panel=_MEANING)
    ] = False,
    delimiter: Annotated[
        str | None,
        typer.Option(help="Between columns: , ; tab | :: …", rich_help_panel=_DIALECT),
    ] = None,
    encoding: Annotated[str | None, setting(TableData, "encoding", panel=_DIALECT)] = None,
    quote: Annotated[
        str | None,
        typer.Option(help="Around fields; none if a quote is a letter.", rich_help_panel=_DIALECT),
    ] = None,
    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header",
            help="Whether the first row names the columns; if not, they go by number from 1.",
            rich_help_panel=_DIALECT,
        ),
    ] = None,
    decimal: Annotated[Literal[".", ","], setting(TableData, "decimal", panel=_DIALECT)] = ".",
    items_delimiter: Annotated[
        str | None, setting(TableData, "items_delimiter", panel=_DIALECT)
    ] = None,
    items_encoding: Annotated[
        str | None, setting(TableData, "items_encoding", panel=_DIALECT)
    ] = None,
    items_quote: Annotated[str | None, setting(TableData, "items_quote", panel=_DIALECT)] = None,
    items_header: Annotated[
        bool | None,
        setting(TableData, "items_header", "--items-header/--items-no-header", panel=_DIALECT),
    ] = None,
    where: Where = None,
    drop_repeats: DropRepeats = False,
    min_purchases: MinPurchases = 0,
    min_user_purchases: MinUserPurchases = 0,
    min_item_purchases: MinItemPurchases = 0,
    unknown_share: UnknownShare = 0.05,
    keep_unbought: Annotated[
        bool,
        setting(TableData, "keep_unbought", "--keep-unbought/--drop-unbought", panel=_RULES),
    ] = True,
    split: SplitRuleName = "paper",
    max_bad_lines: MaxBadLines = 0,
    json: Json = False,
) -> None:
    """Your own purchases and titles, in any format (docs/data.md).

    Example: gloss prepare table --interactions log.csv --items items.csv -o data/mine
    """
    from gloss.experiment.loading import checked

    settings = checked(
        TableData,
        source="table",
        interactions=interactions,
        items=items or (),
        sql=sql,
        items_sql=items_sql,
        user=user,
        item=item,
        time=time or None,
        title=title,
        item_in_items=item_in_items,
        group=group,
        columns=tuple(keep or ()),
        list_separator=list_separator,
        time_format=time_format,
        time_unit=time_unit,
        missing=tuple(missing) if missing else None,
        drop_leading_zeros=drop_leading_zeros,
        delimiter=_sign(delimiter),
        encoding=encoding,
        quote=_sign(quote),
        header=header,
        decimal=decimal,
        items_delimiter=_sign(items_delimiter),
        items_encoding=items_encoding,
        items_quote=_sign(items_quote),
        items_header=items_header,
        where=where,
        drop_repeats=drop_repeats,
        min_purchases=min_purchases,
        min_user_purchases=min_user_purchases,
        min_item_purchases=min_item_purchases,
        unknown_share=unknown_share,
        keep_unbought=keep_unbought,
        split=split,
        max_bad_lines=max_bad_lines,
    )
    _prepare(settings, out, json=json)


def _sign(typed: str | None) -> str | None:
    """A delimiter or quote as it is typed: tab and none by name, since shells eat the signs."""
    return {"tab": "\t", "\\t": "\t", "none": ""}.get(typed, typed) if typed is not None else None


def shop(
    out: Out,
    users: Annotated[int, setting(ShopData, "users")] = 3000,
    seed: Annotated[int, setting(ShopData, "seed")] = 0,
    repeats: Annotated[float, setting(ShopData, "repeats")] = 0.0,
    split: SplitRuleName = "paper",
    json: Json = False,
) -> None:
    """The built-in synthetic shop.

    Example: gloss prepare shop -o data/shop
    """
    from gloss.experiment.loading import checked

    settings = checked(ShopData, users=users, seed=seed, repeats=repeats, split=split)
    _prepare(settings, out, json=json)


def _prepare(settings: Any, out: Path, *, json: bool) -> None:
    from gloss.cli import output
    from gloss.data.dataset import DatasetSummary
    from gloss.experiment import stages

    with output.announce("prepare") as progress:
        made = stages.prepare(settings, out, progress=progress)
    if json:
        output.print_values(str(made.path), made.summary, json=True)
        return
    counts = {name: count for name, count in made.summary.items() if isinstance(count, int)}
    output.print_values(str(made.path), counts, json=False)
    for what, how in DatasetSummary.of(made).read_as.items():
        output.print_line(f"{what}: {how}")
