"""`gloss train` and `gloss generate`: language models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from gloss.cli.options import BaseFolder, Data, Json, LimitUsers, Out, SplitOf

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(train)
    app.command()(generate)


def train(
    config: Annotated[Path, typer.Argument(help="An experiment, as in configs/.")],
    data: Data,
    out: Out,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="Settings to change."),
    ] = None,
    backend: Annotated[
        Literal["transformers", "unsloth"],
        typer.Option(help="Who trains an adapter; unsloth is an extra with versions of its own."),
    ] = "transformers",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many examples, tokens and steps; do nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Train a language model on a data set, as an experiment's model and training sections say.

    Several GPUs train an adapter together: torchrun --nproc-per-node 8 --no-python gloss train …

    Example: gloss train configs/toys-scratch-cpu.yaml -d data/toys -o models/toys
    """
    from gloss.cli import output
    from gloss.experiment import stages
    from gloss.experiment.loading import load_experiment
    from gloss.experiment.pipeline import protocol_of, quietly

    experiment = load_experiment(config, overrides or [])
    titles = protocol_of(experiment).title_style
    model, training = experiment.model, experiment.training
    if dry_run:
        expected = stages.plan(data, model=model, training=training, titles=titles)
        output.print_values("expected", expected, json=json)
        return
    # Of several processes that torchrun started, the first speaks.
    speaks = os.environ.get("RANK", "0") == "0"
    with (output.announce if speaks else quietly)("train") as progress:
        made = stages.train(
            data,
            out,
            model=model,
            training=training,
            titles=titles,
            seed=experiment.seed,
            backend=backend,
            progress=progress,
        )
    if speaks:
        output.print_made(made, json=json)


def generate(
    model: Annotated[Path, typer.Option("-m", "--model", help="A model folder.")],
    data: Data,
    out: Out,
    split: SplitOf = "test",
    decoding: Annotated[
        Literal["catalogue", "free", "exact"],
        typer.Option(
            help="catalogue: only titles that exist; free: whatever the model writes; exact: score "
            "every title, slow."
        ),
    ] = "catalogue",
    beams: Annotated[int, typer.Option(min=1, help="Beams to search with.")] = 10,
    returned: Annotated[
        int | None, typer.Option(min=1, help="Titles a user (default: all beams).")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest title when free.")] = 50,
    length_penalty: Annotated[
        float, typer.Option(help="0: a title's probability; 1: its mean over tokens.")
    ] = 0.0,
    cut: Annotated[
        Literal["purchases", "left"],
        typer.Option(
            help="What too long a prompt loses: oldest purchases, or tokens on the left (paper)."
        ),
    ] = "purchases",
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Cache entries held at once (default: what fits).")
    ] = None,
    shard_users: Annotated[
        int, typer.Option(min=1, help="Users a file: what an interrupted run redoes at most.")
    ] = 2048,
    titles: Annotated[
        Literal["fair", "paper"], typer.Option(help="Title style, for models that are not ours.")
    ] = "fair",
    base: BaseFolder = None,
    keep_adapters: Annotated[
        bool, typer.Option("--keep-adapters", help="Do not merge an adapter into its base model.")
    ] = False,
    quantization: Annotated[
        Literal["nf4", "none"],
        typer.Option(help="nf4: weights of 4 bits, a quarter of the memory."),
    ] = "none",
    context: Annotated[
        int | None,
        typer.Option(min=1, help="Longest prompt and answer (default: as it was trained)."),
    ] = None,
    limit_users: LimitUsers = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many users, tokens, seconds and bytes.")
    ] = False,
    json: Json = False,
) -> None:
    """Let a model write what every user of a split will want next; resumable.

    Example: gloss generate -m models/toys -d data/toys -o runs/toys/generations
    """
    from gloss.cli import output
    from gloss.config import Decoding, Loading
    from gloss.experiment import stages
    from gloss.experiment.loading import checked

    loading = Loading(
        base=base, keep_adapters=keep_adapters, quantization=quantization, context=context
    )
    settings = checked(
        Decoding,
        mode=decoding,
        beams=beams,
        returned=returned,
        max_new_tokens=max_new_tokens,
        length_penalty=length_penalty,
        cut=cut,
        batch_tokens=batch_tokens,
        shard_users=shard_users,
    )
    if dry_run:
        expected = stages.estimate(
            model,
            data,
            split=split,
            settings=settings,
            titles=titles,
            limit_users=limit_users,
            loading=loading,
        )
        output.print_values("expected", expected, json=json)
        return
    with output.announce("generate") as progress:
        made = stages.generate(
            model,
            data,
            out,
            split=split,
            settings=settings,
            titles=titles,
            limit_users=limit_users,
            loading=loading,
            progress=progress,
        )
    output.print_made(made, json=json)
