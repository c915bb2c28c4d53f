"""`gloss encoder train`: a sentence encoder that has seen what is bought after what.

The options are settings of the dual encoder, with their descriptions, bounds and defaults.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gloss.cli.options import Data, Json, Out, ProtocolName, setting
from gloss.rankers.dual_encoder.settings import DualEncoderSettings
from gloss.retrieval.settings import ENCODER

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    group = typer.Typer(help="Sentence encoders.", no_args_is_help=True)
    group.callback()(_encoders)
    group.command()(train)
    app.add_typer(group, name="encoder")


def _encoders() -> None:
    pass


def _setting(name: str, *flags: str) -> Any:
    """The option of a setting of the dual encoder; not typed, it is the usual."""
    default = DualEncoderSettings.model_fields[name].default
    return setting(DualEncoderSettings, name, *flags, default=default)


def train(
    data: Data,
    out: Out,
    encoder: Annotated[
        str, typer.Option("--encoder", help="The encoder to start from, by name or folder.")
    ] = ENCODER,
    epochs: Annotated[int | None, _setting("epochs")] = None,
    users: Annotated[int | None, _setting("batch_users", "--users")] = None,
    candidates: Annotated[int | None, _setting("candidates")] = None,
    learning_rate: Annotated[float | None, _setting("learning_rate")] = None,
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
