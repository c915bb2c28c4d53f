"""`gloss fuse`: one list out of several rankers' lists."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gloss.cli.options import Data, Json, Out

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(fuse)


def fuse(
    rankings: Annotated[
        list[Path], typer.Argument(help="Long lists of the same users, a folder a ranker.")
    ],
    data: Data,
    out: Out,
    validation: Annotated[
        list[Path] | None,
        typer.Option(
            "--validation",
            help="The same rankers' lists for validation users, in the same order; repeat.",
        ),
    ] = None,
    rule: Annotated[
        str,
        typer.Option("--rule", help="How: see the setting `fusion.rule` in docs/configuration.md."),
    ] = "log-linear",
    length: Annotated[int, typer.Option("-k", "--length", min=1, help="Items in a list.")] = 20,
    shifted_run: Annotated[
        Path | None,
        typer.Option(
            "--shifted-run",
            help="The data set of the validation users, where it is of another split.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Fuse several rankings into one; what a score and a rank are worth is fitted.

    Example: gloss fuse test/a test/b --validation val/a --validation val/b -d data/toys -o test/ab
    """
    from gloss.cli import output
    from gloss.experiment import stages
    from gloss.fusion.rules import rule_named

    chosen = rule_named(rule)
    with output.announce("fuse"):
        made = stages.fuse(
            rankings,
            validation or [],
            data,
            out,
            rule=chosen,
            length=length,
            shifted_run=shifted_run,
        )
    output.print_made(made, json=json)
