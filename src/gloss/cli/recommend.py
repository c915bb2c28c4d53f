"""`gloss recommend`: recommendations for one history, typed in."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gloss.cli.options import Json

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(recommend)


def recommend(
    recommender: Annotated[
        Path, typer.Option("-m", "--recommender", help="A run folder made by `gloss run`.")
    ],
    history: Annotated[
        list[str],
        typer.Option("--history", help="A title that was bought, earliest first; repeat."),
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="How many items.")] = 10,
    fused: Annotated[
        bool | None,
        typer.Option(
            "--fused/--alone",
            help="The language model with the run's other signals, or alone (default: fused, where "
            "the run has it).",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """What somebody will want next, and which generated title or which purchase led there.

    Example: gloss recommend -m runs/demo --history "Title A" --history "Title B" -k 5
    """
    from gloss.cli import output
    from gloss.recommender import Recommender

    (found,) = Recommender.load(recommender, fused=fused).recommend([history], k)
    if json:
        output.print_json([asdict(each) for each in found])
    else:
        output.print_recommendations(found)
