"""`gloss import ranking`: somebody's own lists, to be measured beside the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gloss.cli.options import Data, Json, Out, SplitOf

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    group = typer.Typer(help="Take over what another program has made.", no_args_is_help=True)
    group.callback()(_group)
    group.command()(ranking)
    app.add_typer(group, name="import")


def _group() -> None:
    """Take over what another program has made."""


def ranking(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="User, item and score or rank in each row: CSV or other delimited text, Parquet, "
            "JSON Lines, a TREC run, what RecTools and RecBole write.",
        ),
    ],
    data: Data,
    out: Out,
    name: Annotated[
        str | None, typer.Option("--name", help="What the report calls it (default: the file).")
    ] = None,
    split: SplitOf = "test",
    user: Annotated[
        str | None, typer.Option("--user", help="The column of users (default: by its name).")
    ] = None,
    item: Annotated[
        str | None, typer.Option("--item", help="The column of items (default: by its name).")
    ] = None,
    score: Annotated[
        str | None, typer.Option("--score", help="The column of scores (default: by its name).")
    ] = None,
    rank: Annotated[
        str | None,
        typer.Option("--rank", help="The column of ranks, which go before scores."),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option("--delimiter", help="Between columns (default: detected).")
    ] = None,
    json: Json = False,
) -> None:
    """Take over ranked lists, so that evaluate, compare and report treat them as any other.

    Example: gloss import ranking my.csv -d data/toys -o runs/toys/mine
    """
    from gloss.cli import output
    from gloss.experiment import stages
    from gloss.rankings.imported import ListColumns

    with output.announce("import"):
        made = stages.import_ranking(
            file,
            data,
            out,
            name=name,
            split=split,
            columns=ListColumns(user, item, score, rank),
            delimiter={"tab": "\t"}.get(delimiter or "", delimiter),
        )
    output.print_made(made, json=json)
