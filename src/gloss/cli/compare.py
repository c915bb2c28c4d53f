"""`gloss compare`: whether one evaluation, one bundle, or one half of a service's users differs
from another by more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gloss.cli.compare_log import compare_state
from gloss.cli.options import Json, given
from gloss.errors import ConfigError

if TYPE_CHECKING:
    from gloss.evaluation.significance import Comparison

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(compare)


def compare(
    first: Annotated[
        Path | None,
        typer.Argument(
            metavar="[A]", help="A bundle; or an evaluation, or a run folder for its own."
        ),
    ] = None,
    second: Annotated[
        Path | None, typer.Argument(metavar="[B]", help="What to compare it with.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Metric to compare (default: recall@5); repeat.")
    ] = None,
    interactions: Annotated[
        list[str] | None,
        typer.Option(
            "--interactions",
            help="Of bundles: purchases that go on after the newest one of both, with those "
            "before them (or see --data). May be repeated.",
        ),
    ] = None,
    items: Annotated[
        list[str] | None,
        typer.Option(
            "--items",
            help="Of bundles: titles of items that came since, which both read in histories. May "
            "be repeated.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "-d",
            "--data",
            help="Of bundles: a data set with earlier purchases, whose columns the files have "
            "(default: the files hold all; columns user, item, time).",
        ),
    ] = None,
    users: Annotated[
        int | None,
        typer.Option(min=1, help="Of bundles: at most so many users, drawn at random."),
    ] = None,
    resamples: Annotated[
        int, typer.Option(min=1, help="Resamples of the test and of the interval.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the resamples, and of --users.")] = 0,
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
    randomisation test (signs flipped at random, two-sided); then what that says, and how many users
    it takes to see such a difference. Evaluations have their users. Two bundles, such as today's
    and yesterday's, are asked for everybody whose last purchase is newer than all that either of
    them was made of: name a log with --interactions, and what was before it with --data.

    Example: gloss compare runs/demo runs/demo/evaluations/popularity --metric recall@5
    """
    if log is not None:
        names = [str(name) for name in (first, second) if name is not None]
        compare_state(log, names, metric, days=days, resamples=resamples, seed=seed, json=json)
        return
    if first is None or second is None:
        raise ConfigError("name what is compared: gloss compare A B, or --log STATE")
    metrics = metric or ["recall@5"]
    if not _are_bundles(first, second):
        given("evaluations", (), interactions=interactions, items=items, data=data, users=users)
        _of_evaluations(first, second, metrics, resamples, seed, json=json)
        return
    if not interactions and data is None:
        raise ConfigError(
            "two bundles are compared on purchases that are newer than both: name a log with "
            "--interactions, a data set with --data, or both"
        )
    from gloss.cli import output
    from gloss.experiment import stages
    from gloss.recommender.comparing import compare_bundles

    bought = stages.log_of(data, interactions=interactions or (), items=items or ())
    made = compare_bundles(
        first, second, bought, metrics, users=users, resamples=resamples, seed=seed
    )
    if json:
        output.print_json({**asdict(made), "comparisons": _documents(made.comparisons)})
    else:
        output.print_bundle_comparison(str(first), str(second), made)


def _of_evaluations(
    first: Path, second: Path, metrics: Sequence[str], resamples: int, seed: int, *, json: bool
) -> None:
    from gloss.cli import output
    from gloss.evaluation.significance import compare_folders
    from gloss.experiment.run_folder import evaluation_at

    comparisons = compare_folders(
        evaluation_at(first), evaluation_at(second), metrics, resamples=resamples, seed=seed
    )
    if json:
        output.print_json(_documents(comparisons))
    else:
        output.print_comparisons(str(first), str(second), comparisons)


def _documents(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    return [{**asdict(each), "verdict": each.verdict} for each in comparisons]


def _are_bundles(first: Path, second: Path) -> bool:
    """Whether both are bundles; ConfigError where only one of them is."""
    from gloss.artifacts import listing_in
    from gloss.recommender.bundle import KIND

    listings = [(path, listing_in(path)) for path in (first, second)]
    bundles = [path for path, listing in listings if listing and listing.kind == KIND]
    if len(bundles) == 1:
        raise ConfigError(f"{bundles[0]} is a bundle, and the other one is none")
    return bool(bundles)
