"""`gloss export`: rankings for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gloss.cli.options import Data, Json, Out

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(export)


def export(
    ranking: Annotated[Path, typer.Argument(help="Made by rank or baseline.")],
    data: Data,
    out: Out,
    format: Annotated[
        Literal["trec"], typer.Option("--format", help="trec: run.txt and qrels.txt.")
    ] = "trec",
    json: Json = False,
) -> None:
    """Write a ranking and the true next items for other tools: ranx, ir_measures and trec_eval.

    Example: gloss export runs/demo/rankings/gloss -d runs/demo/data -o runs/demo/trec
    """
    from gloss.cli import output
    from gloss.experiment import stages

    output.print_made(stages.export(ranking, data, out), json=json)
