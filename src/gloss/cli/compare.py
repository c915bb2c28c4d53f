"""`gloss compare`: whether one evaluation, or one bundle, differs from another by more than
chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
        Path,
        typer.Argument(
            metavar="A", help="A bundle; or an evaluation, or a run folder for its own."
        ),
    ],
    second: Annotated[Path, typer.Argument(metavar="B", help="What to compare it with.")],
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

    log = stages.log_of(data, interactions=interactions or (), items=items or ())
    made = compare_bundles(first, second, log, metrics, users=users, resamples=resamples, seed=seed)
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
