"""`gloss encoder tune`: a sentence encoder that has seen what is bought after what."""

from __future__ import annotations

from typing import Annotated

import typer

from gloss.cli.options import Data, Json, Out

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    group = typer.Typer(help="Sentence encoders.", no_args_is_help=True)
    group.callback()(_encoders)
    group.command()(tune)
    app.add_typer(group, name="encoder")


def _encoders() -> None:
    pass


def tune(
    data: Data,
    out: Out,
    encoder: Annotated[
        str, typer.Option("--encoder", help="The encoder to start from, by name or folder.")
    ] = "all-MiniLM-L6-v2",
    pairs: Annotated[
        int, typer.Option("--pairs", min=2, help="Pairs of purchases in a row to learn from.")
    ] = 10_000,
    batch: Annotated[int, typer.Option("--batch", min=2, help="Pairs in a step.")] = 64,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", min=0, help="The highest learning rate.")
    ] = 2e-5,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws and orders the pairs.")] = 0,
    json: Json = False,
) -> None:
    """Fine-tune a sentence encoder on the training histories; use it with --encoder OUT.

    Example: gloss encoder tune -d data/toys -o encoders/toys
    """
    from gloss import stages
    from gloss.cli import output

    with output.announce("tune") as progress:
        made = stages.tune(
            data,
            out,
            encoder=encoder,
            pairs=pairs,
            batch=batch,
            learning_rate=learning_rate,
            seed=seed,
            progress=progress,
        )
    output.print_made(made, json=json)
