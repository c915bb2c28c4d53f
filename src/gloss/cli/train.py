"""`gloss train`: language models, from zero or as adapters of pretrained ones."""

from __future__ import annotations

from typing import Annotated

import typer

from gloss.choices import Backend
from gloss.cli.options import Config, Data, Json, Out, Overrides

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(train)


def train(
    config: Config,
    data: Data,
    out: Out,
    overrides: Overrides = None,
    backend: Annotated[
        Backend,
        typer.Option(help="Who trains an adapter; unsloth is an extra with versions of its own."),
    ] = "transformers",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many examples, tokens and steps; do nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Train a language model on a data set, as an experiment's model and training sections say.

    Several GPUs train together: torchrun --nproc-per-node 8 -m gloss train …

    Example: gloss train configs/toys-scratch-cpu.yaml -d data/toys -o models/toys
    """
    from gloss.cli import output
    from gloss.data.dataset import Dataset
    from gloss.experiment import stages
    from gloss.experiment.following import protocol_of
    from gloss.experiment.loading import load_experiment
    from gloss.experiment.sizing import has_gpu, shop_of, sized

    experiment = load_experiment(config, overrides or [])
    titles = protocol_of(experiment).title_style
    experiment = sized(experiment, shop_of(Dataset.load(data), titles), gpu=has_gpu())
    model, training = experiment.model, experiment.training
    if dry_run:
        expected = stages.plan(data, model=model, training=training, titles=titles)
        output.print_values("expected", expected, json=json)
        return
    with output.announce("train") as progress:
        made = stages.train(
            data,
            out,
            model=model,
            training=training,
            titles=titles,
            seed=experiment.seed,
            distillation=experiment.distillation,
            backend=backend,
            progress=progress,
        )
    output.print_made(made, json=json)
