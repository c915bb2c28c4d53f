"""`gloss prepare`: from files of purchases to a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gloss.cli.options import Json, Out, SplitRuleName

__all__ = ["register"]

_DIALECT = "How files are written (detected, and said)"
_MEANING = "What columns mean"
_RULES = "What is kept"

MaxBadLines = Annotated[
    int,
    typer.Option(
        "--max-bad-lines",
        min=0,
        help="How many malformed lines to put up with.",
        rich_help_panel=_RULES,
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        help="Keep rows for which this is true: \"event_type = 'purchase' AND quantity > 0\".",
        rich_help_panel=_RULES,
    ),
]
MinPurchases = Annotated[
    int,
    typer.Option(min=0, help="Keep the k-core: at least this many each.", rich_help_panel=_RULES),
]
MinUserPurchases = Annotated[
    int,
    typer.Option(min=0, help="Leave out users with fewer, once.", rich_help_panel=_RULES),
]
MinItemPurchases = Annotated[
    int,
    typer.Option(min=0, help="Leave out items with fewer, once.", rich_help_panel=_RULES),
]
DropRepeats = Annotated[
    bool,
    typer.Option(
        "--drop-repeats", help="Leave out what was bought just before.", rich_help_panel=_RULES
    ),
]
UnknownShare = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="Warn if more purchases name items the catalogue lacks.",
        rich_help_panel=_RULES,
    ),
]
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
    category: Annotated[
        str, typer.Option(help="beauty, toys, sports, or a name in the original files.")
    ],
    out: Out,
    source: Annotated[
        Path | None, typer.Option(help="A folder with the original files (default: download).")
    ] = None,
    edition: Annotated[
        Literal["2014", "2018", "2023"], typer.Option(help="The year of the files.")
    ] = "2014",
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
    from gloss.config import AmazonData
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
    from gloss.config import PresetData
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
    sql: Annotated[
        str | None, typer.Option(help="Which rows of a database are the purchases.")
    ] = None,
    items_sql: Annotated[
        str | None, typer.Option(help="Which rows of a database are the items.")
    ] = None,
    user: Annotated[
        str, typer.Option(help="Column of the user, or of the session.", rich_help_panel=_MEANING)
    ] = "user",
    item: Annotated[
        str, typer.Option(help="Column of the item.", rich_help_panel=_MEANING)
    ] = "item",
    time: Annotated[
        str,
        typer.Option(
            help='Column of the time; "" if the file is in order.', rich_help_panel=_MEANING
        ),
    ] = "time",
    title: Annotated[
        str, typer.Option(help="Column of the title.", rich_help_panel=_MEANING)
    ] = "title",
    item_in_items: Annotated[
        str | None,
        typer.Option(
            help="Column of the item in --items, if it differs.", rich_help_panel=_MEANING
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            help="Column of items that variants of one product share.", rich_help_panel=_MEANING
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help='A further column of items to keep; "*" for all; may be repeated.',
            rich_help_panel=_MEANING,
        ),
    ] = None,
    list_separator: Annotated[
        str | None,
        typer.Option(
            help="What stands between items, where a row holds a user's list.",
            rich_help_panel=_MEANING,
        ),
    ] = None,
    time_format: Annotated[
        str | None,
        typer.Option(
            help='How dates are spelled, such as "%d/%m/%Y %H:%M".', rich_help_panel=_MEANING
        ),
    ] = None,
    time_unit: Annotated[
        Literal["s", "ms", "us", "ns", "none"] | None,
        typer.Option(help="The unit of times that are numbers.", rich_help_panel=_MEANING),
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(
            help='A word for no value, in place of "", NULL, nan, <NA> and \\N; may be repeated.',
            rich_help_panel=_MEANING,
        ),
    ] = None,
    drop_leading_zeros: Annotated[
        bool,
        typer.Option(
            "--drop-leading-zeros",
            help="0042 and 42 are the same id.",
            rich_help_panel=_MEANING,
        ),
    ] = False,
    delimiter: Annotated[
        str | None,
        typer.Option(help="Between columns: , ; tab | :: …", rich_help_panel=_DIALECT),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(help="utf-8, utf-16, cp1252, latin-1, …", rich_help_panel=_DIALECT),
    ] = None,
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
    decimal: Annotated[
        Literal[".", ","],
        typer.Option(help="The decimal point of numbers.", rich_help_panel=_DIALECT),
    ] = ".",
    items_delimiter: Annotated[
        str | None, typer.Option(help="Likewise, of --items alone.", rich_help_panel=_DIALECT)
    ] = None,
    items_encoding: Annotated[
        str | None, typer.Option(help="Likewise, of --items alone.", rich_help_panel=_DIALECT)
    ] = None,
    items_quote: Annotated[
        str | None, typer.Option(help="Likewise, of --items alone.", rich_help_panel=_DIALECT)
    ] = None,
    items_header: Annotated[
        bool | None,
        typer.Option(
            "--items-header/--items-no-header",
            help="Likewise, of --items alone.",
            rich_help_panel=_DIALECT,
        ),
    ] = None,
    where: Where = None,
    drop_repeats: DropRepeats = False,
    min_purchases: MinPurchases = 0,
    min_user_purchases: MinUserPurchases = 0,
    min_item_purchases: MinItemPurchases = 0,
    unknown_share: UnknownShare = 0.05,
    keep_unbought: Annotated[
        bool,
        typer.Option(
            "--keep-unbought/--drop-unbought",
            help="Whether items that nobody bought stay.",
            rich_help_panel=_RULES,
        ),
    ] = True,
    split: SplitRuleName = "paper",
    max_bad_lines: MaxBadLines = 0,
    json: Json = False,
) -> None:
    """Your own purchases and titles, in any format (docs/data.md).

    Example: gloss prepare table --interactions log.csv --items items.csv -o data/mine
    """
    from gloss.config import TableData
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
    if json:
        output.print_values(str(made.path), made.summary, json=True)
        return
    counts = {name: count for name, count in made.summary.items() if isinstance(count, int)}
    output.print_values(str(made.path), counts, json=False)
    for what, how in made.summary.get("read as", {}).items():
        output.print_line(f"{what}: {how}")
