"""`gloss encoder train`: a sentence encoder that has seen what is bought after what."""

from __future__ import annotations

from typing import Annotated

import typer

from gloss.cli.options import Data, Json, Out, ProtocolName

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    group = typer.Typer(help="Sentence encoders.", no_args_is_help=True)
    group.callback()(_encoders)
    group.command()(train)
    app.add_typer(group, name="encoder")


def _encoders() -> None:
    pass


def train(
    data: Data,
    out: Out,
    encoder: Annotated[
        str, typer.Option("--encoder", help="The encoder to start from, by name or folder.")
    ] = "all-MiniLM-L6-v2",
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Passes over all histories (5).")
    ] = None,
    users: Annotated[
        int | None, typer.Option("--users", min=1, help="Histories in a step (256).")
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            "--candidates",
            min=2,
            help="Titles in the softmax of a step (20,000); some hundreds without a GPU.",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", min=1e-9, help="The highest learning rate (0.001)."),
    ] = None,
    protocol: ProtocolName = "fair",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the training.")] = 0,
    json: Json = False,
) -> None:
    """Train the dual encoder: a sentence encoder that knows what is bought after what.

    Use it with `gloss baseline dual-encoder --trained OUT`, or as any encoder with --encoder OUT.

    Example: gloss encoder train -d data/toys -o encoders/toys
    """
    from gloss.cli import output
    from gloss.data.dataset import Dataset
    from gloss.evaluation.protocol import protocol_named
    from gloss.experiment import stages
    from gloss.experiment.loading import checked
    from gloss.rankers.dual_encoder.ranker import SPEC
    from gloss.rankers.sources import RankerSources

    typed = {
        "epochs": epochs,
        "batch_users": users,
        "candidates": candidates,
        "learning_rate": learning_rate,
    }
    settings = checked(SPEC.settings, **{k: v for k, v in typed.items() if v is not None})
    with output.announce("train") as progress:
        sources = RankerSources(
            Dataset.load(data), protocol_named(protocol).title_style, encoder=encoder
        )
        made = stages.train_ranker(
            SPEC, sources, out, settings=settings, seed=seed, progress=progress
        )
    output.print_made(made, json=json)
