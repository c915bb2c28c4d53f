"""`gloss encoder tune`: a sentence encoder that has seen what is bought after what."""

from __future__ import annotations

from typing import Annotated

import typer

from gloss.cli.options import Data, Json, Out, ProtocolName

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
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over all histories.")] = 1,
    users: Annotated[int, typer.Option("--users", min=1, help="Histories in a step.")] = 32,
    candidates: Annotated[
        int,
        typer.Option(
            "--candidates",
            min=2,
            help="Titles that the next one is found among: all of the catalogue on a GPU.",
        ),
    ] = 512,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", min=1e-9, help="The highest learning rate.")
    ] = 1e-4,
    protocol: ProtocolName = "fair",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the training.")] = 0,
    json: Json = False,
) -> None:
    """Teach a sentence encoder what is bought after what; use it with --encoder OUT.

    Example: gloss encoder tune -d data/toys -o encoders/toys
    """
    from gloss.cli import output
    from gloss.evaluation.protocol import protocol_named
    from gloss.experiment import stages
    from gloss.rankers.dual_encoder.settings import DualEncoderSettings

    settings = DualEncoderSettings(
        epochs=epochs, batch_users=users, candidates=candidates, learning_rate=learning_rate
    )
    with output.announce("tune") as progress:
        made = stages.tune(
            data,
            out,
            encoder=encoder,
            titles=protocol_named(protocol).title_style,
            settings=settings,
            seed=seed,
            progress=progress,
        )
    output.print_made(made, json=json)
