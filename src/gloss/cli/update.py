"""`gloss update`: a bundle for a shop that goes on, without a new training."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from gloss.cli.options import Json
from gloss.cli.update_state import news_of_state
from gloss.errors import ConfigError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(update)


def update(
    bundle: Annotated[Path, typer.Argument(help="Made by gloss fit, bundle or update.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The bundle to write; BUNDLE itself is replaced.")
    ],
    interactions: Annotated[
        list[str] | None,
        typer.Option(
            "--interactions",
            help="Purchases since, with the columns of those that BUNDLE was made of; purchases "
            "that it knows count once. May be repeated.",
        ),
    ] = None,
    items: Annotated[
        list[str] | None,
        typer.Option(
            "--items",
            help="New items, with the columns of those that it was made of; those that it knows "
            "keep their title, and the newest value of other columns counts. May be repeated.",
        ),
    ] = None,
    remove: Annotated[
        Path | None, typer.Option("--remove", help="A file with ids of items, one a line.")
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            help="The state of the service that BUNDLE is served by (a file or URL, as of gloss "
            "serve): its events, and items that were added, changed or removed.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "-d",
            "--data",
            help="The data set that the bundle was made of (default: BUNDLE-data, or "
            "BUNDLE-parts/data).",
        ),
    ] = None,
    joined: Annotated[
        Path | None,
        typer.Option(
            "--joined", help="Where the data set of both is put, for the next update (OUT-data)."
        ),
    ] = None,
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain",
            help="Train SASRec, the dual encoder and a language model from zero further, from "
            "their weights, on all purchases, for a quarter of their epochs; then nothing need be "
            "new. They are trained in OUT-retrained.",
        ),
    ] = False,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help="The folder of the encoder of titles, where the bundle was made with one that has "
            "no name.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Bring a bundle up to date with what was bought and with items that came and went.

    Counts, indexes and vectors are those of a fit on all purchases; what was trained stays as it
    is, unless it is trained further. Seconds, where a training takes hours.

    Example: gloss update shop --interactions tuesday.csv --items new.csv -o shop
    """
    from gloss.cli import output
    from gloss.experiment import updating

    if state is not None and remove is not None:
        raise ConfigError("with --state remove items at the service, not by --remove")
    with ExitStack() as files:
        news = None
        if state is not None:
            of_state = news_of_state(state, bundle, out, data=data, joined=joined)
            news = files.enter_context(of_state)
        made = updating.update(
            bundle,
            out,
            interactions=[*(interactions or ()), *(news.interactions if news else ())],
            items=[*(items or ()), *(news.items if news else ())],
            removed=news.removed if news else remove,
            data=data,
            joined=joined,
            retrain=retrain,
            encoder=encoder,
            announce=output.announce,
        )
    output.print_bundle(made, json=json)
