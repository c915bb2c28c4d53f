"""`gloss bundle` and `gloss fit`: from experiments to what is served."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gloss.cli.options import Config, Force, Json, Overrides

__all__ = ["register"]

Out = Annotated[Path, typer.Option("-o", "--out", help="The bundle to write.")]
WithModel = Annotated[
    bool | None,
    typer.Option(
        "--model/--no-model",
        help="With or without the language model (default: with it, where there is one).",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(bundle)
    app.command()(fit)


def bundle(
    run: Annotated[Path, typer.Argument(help="A run folder made by `gloss run`.")],
    out: Out,
    model: WithModel = None,
    json: Json = False,
) -> None:
    """One folder that answers: what a run has measured, ready to be served anywhere.

    Example: gloss bundle runs/demo -o demo-bundle
    """
    from gloss.cli import output
    from gloss.experiment import bundling

    output.print_bundle(bundling.bundle(run, out, model=model), json=json)


def fit(
    config: Config,
    out: Out,
    overrides: Overrides = None,
    measured: Annotated[
        Path | None,
        typer.Option(
            "--measured",
            help="A run of the same settings: its fitted fusion is taken over, and its figures are "
            "this bundle's (default: lists are joined by their ranks).",
        ),
    ] = None,
    parts: Annotated[
        Path | None,
        typer.Option("--parts", help="Where the parts are trained (default: OUT-parts)."),
    ] = None,
    model: WithModel = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Train a recommender on all purchases, with nothing held back, and write it as a bundle.

    Example: gloss fit configs/toys-fused.yaml -o toys-bundle --measured runs/toys-fused
    """
    from gloss.cli import output
    from gloss.experiment import bundling
    from gloss.experiment.feasibility import require_room
    from gloss.experiment.loading import load_experiment

    experiment = load_experiment(config, overrides or [])
    parts = parts or out.with_name(f"{out.name}-parts")
    if not force:
        require_room(experiment, parts, model=model is not False)
    made = bundling.fit(
        experiment,
        out,
        parts=parts,
        measured=measured,
        model=model is not False,
        announce=output.announce,
        force=force,
    )
    output.print_bundle(made, json=json)
