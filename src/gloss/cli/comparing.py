"""`gloss compare`, `gloss export`: two evaluations against each other, rankings for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gloss.cli.options import Data, Json, Out

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(compare)
    app.command()(export)


def compare(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="An evaluation, or a run folder for its own.")
    ],
    second: Annotated[Path, typer.Argument(metavar="B", help="The one to hold it against.")],
    metric: Annotated[
        list[str] | None, typer.Option(help="Metric to compare (default: recall@5); repeat.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=1, help="Draws of the test and interval.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    json: Json = False,
) -> None:
    """Whether A differs from B by more than chance, on the same users.

    Prints A - B with the 95 % interval of a paired bootstrap, and the p-value of a paired
    randomisation test (signs flipped at random, two-sided).

    Example: gloss compare runs/demo runs/demo/evaluations/popularity --metric recall@5
    """
    from dataclasses import asdict

    from gloss.cli import output
    from gloss.evaluation.significance import compare_folders
    from gloss.experiment.run_folder import evaluation_at

    found = compare_folders(
        evaluation_at(first),
        evaluation_at(second),
        metric or ["recall@5"],
        resamples=resamples,
        seed=seed,
    )
    if json:
        output.print_json([asdict(each) for each in found])
    else:
        output.print_comparisons(str(first), str(second), found)


def export(
    ranking: Annotated[Path, typer.Argument(help="Made by rank or baseline.")],
    data: Data,
    out: Out,
    format: Annotated[
        Literal["trec"], typer.Option("--format", help="trec: run.txt and qrels.txt.")
    ] = "trec",
    json: Json = False,
) -> None:
    """Write a ranking and its answers for other tools: ranx, ir_measures and trec_eval.

    Example: gloss export runs/demo/rankings/gloss -d runs/demo/data -o runs/demo/trec
    """
    from gloss.cli import output
    from gloss.experiment import stages

    output.print_made(stages.export(ranking, data, out), json=json)
