"""`gloss compare`: whether one evaluation differs from another by more than chance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gloss.cli.compare_log import compare_state
from gloss.cli.options import Json
from gloss.errors import ConfigError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(compare)


def compare(
    first: Annotated[
        Path | None,
        typer.Argument(metavar="[A]", help="An evaluation, or a run folder for its own."),
    ] = None,
    second: Annotated[
        Path | None, typer.Argument(metavar="[B]", help="The evaluation to compare it with.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Metric to compare (default: recall@5); repeat.")
    ] = None,
    resamples: Annotated[
        int, typer.Option(min=1, help="Resamples of the test and of the interval.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the resamples.")] = 0,
    log: Annotated[
        str | None,
        typer.Option(
            "--log",
            help="The state of a service that served two bundles (a file or URL, as --state of "
            "gloss serve): what people bought after lists of each. A and B are their names, which "
            "may be left out where the log has only two; metrics: conversion, hits@k.",
        ),
    ] = None,
    days: Annotated[
        float, typer.Option("--days", min=0, help="Of --log: how long a purchase follows a list.")
    ] = 7.0,
    json: Json = False,
) -> None:
    """Whether A differs from B by more than chance, on the same users.

    Prints A - B with the 95 % interval of a paired bootstrap, and the p-value of a paired
    randomisation test (signs flipped at random, two-sided).

    Example: gloss compare runs/demo runs/demo/evaluations/popularity --metric recall@5
    """
    if log is not None:
        names = [str(name) for name in (first, second) if name is not None]
        compare_state(log, names, metric, days=days, resamples=resamples, seed=seed, json=json)
        return
    if first is None or second is None:
        raise ConfigError("name what is compared: gloss compare A B, or --log STATE")
    from dataclasses import asdict

    from gloss.cli import output
    from gloss.evaluation.significance import compare_folders
    from gloss.experiment.run_folder import evaluation_at

    comparisons = compare_folders(
        evaluation_at(first),
        evaluation_at(second),
        metric or ["recall@5"],
        resamples=resamples,
        seed=seed,
    )
    if json:
        output.print_json([asdict(each) for each in comparisons])
    else:
        output.print_comparisons(str(first), str(second), comparisons)
