"""`gloss evaluate`: from lists to figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gloss.cli.options import Data, Json, ProtocolName, chosen_protocol

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(evaluate)


def evaluate(
    ranking: Annotated[Path, typer.Option("-r", "--ranking", help="Made by rank or baseline.")],
    data: Data,
    protocol: ProtocolName = "fair",
    cutoff: Annotated[
        list[int] | None, typer.Option(min=1, help="List length to measure at; may be repeated.")
    ] = None,
    cold: Annotated[int | None, typer.Option(min=1, help="Most purchases of a cold user.")] = None,
    regular: Annotated[
        int | None, typer.Option(min=1, help="Most purchases of a regular user.")
    ] = None,
    generations: Annotated[
        Path | None,
        typer.Option(
            "-g",
            "--generations",
            help="The generations that were ranked: measures titles and beams too.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The folder to write (default: RANKING-evaluation)."),
    ] = None,
    json: Json = False,
) -> None:
    """Measure a ranking: Recall, NDCG, MRR, with intervals, over all users and by segment.

    Example: gloss evaluate -r runs/toys/ranking -d data/toys --protocol paper
    """
    from gloss.cli import output
    from gloss.data.dataset import Dataset
    from gloss.evaluation.evaluate import read_figures
    from gloss.evaluation.segments import SegmentBounds, default_bounds
    from gloss.experiment import stages

    chosen = chosen_protocol(protocol, cutoffs=tuple(cutoff) if cutoff else None)
    default = default_bounds(Dataset.load(data).name)
    bounds = SegmentBounds(cold or default.cold, regular or default.regular)
    folder = out or ranking.with_name(f"{ranking.name}-evaluation")
    made = stages.evaluate(
        ranking, data, folder, protocol=chosen, bounds=bounds, generations=generations
    )
    figures = read_figures(made)
    if json:
        output.print_json(figures)
    else:
        output.print_figures(str(ranking), figures)
    asked, measured = made.summary["users of the split"], made.summary["users"]
    if measured < asked:
        output.note(
            f"measured on {measured:,} of the split's {asked:,} users: the others have no list"
        )
