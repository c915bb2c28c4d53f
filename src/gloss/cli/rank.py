"""`gloss rank`: from generated titles to lists of items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gloss import choices
from gloss.cli.options import (
    ExcludeSeen,
    Json,
    Length,
    Out,
    ProtocolName,
    Ray,
    chosen_protocol,
    workers_of,
)
from gloss.config import TitleFusion

__all__ = ["register"]

PerQuery = Annotated[
    int | None, typer.Option("--per-query", min=1, help="Items taken for each title.")
]
Fusion = Annotated[
    TitleFusion | None,
    typer.Option("--fusion", help="How the items of several titles are joined."),
]

FillsUp = Annotated[
    bool | None,
    typer.Option(
        "--fill-up/--as-found", help="Whether popular items end a list that is too short."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(rank)


def rank(
    generations: Annotated[
        Path,
        typer.Option("-g", "--generations", help="Made by `gloss generate`, or research JSON."),
    ],
    index: Annotated[Path, typer.Option("-i", "--index", help="Made by `gloss index`.")],
    out: Out,
    data: Annotated[
        Path | None,
        typer.Option(
            "-d", "--data", help="The data set that research JSON is held against at once."
        ),
    ] = None,
    split: Annotated[
        choices.SplitName | None,
        typer.Option("--split", help="Whom research JSON is for (default: test)."),
    ] = None,
    protocol: ProtocolName = "fair",
    per_query: PerQuery = None,
    fusion: Fusion = None,
    length: Length = None,
    exclude_seen: ExcludeSeen = None,
    fills_up: FillsUp = None,
    ray: Ray = None,
    json: Json = False,
) -> None:
    """Find the items that generated titles mean; options override the protocol.

    Example: gloss rank -g runs/toys/generations -i indexes/toys-bm25 -o runs/toys/ranking
    """
    from gloss.cli import output
    from gloss.experiment import stages

    chosen = chosen_protocol(
        protocol,
        per_query=per_query,
        fusion=fusion,
        length=length,
        exclude_seen=exclude_seen,
        fills_up=fills_up,
    )
    with workers_of(ray) as workers, output.announce("rank") as progress:
        made = stages.rank(
            generations,
            index,
            out,
            protocol=chosen,
            split=split,
            dataset=data,
            workers=workers,
            progress=progress,
        )
    output.print_made(made, json=json)
