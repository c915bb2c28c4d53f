"""`gloss generate`: the titles that a model writes for every user of a split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gloss.choices import Cut, DecodingMode, Quantization, TitleStyle
from gloss.cli.options import BaseFolder, Data, Json, LimitUsers, Out, SplitOf

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(generate)


def generate(
    model: Annotated[Path, typer.Option("-m", "--model", help="A model folder.")],
    data: Data,
    out: Out,
    split: SplitOf = "test",
    decoding: Annotated[
        DecodingMode,
        typer.Option(
            help="catalogue: only titles that exist; free: any text; exact: score every title that "
            "exists (slow)."
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
        Cut,
        typer.Option(
            help="What too long a prompt loses: oldest purchases, or tokens on the left (paper)."
        ),
    ] = "purchases",
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Cache entries held at once (default: what fits).")
    ] = None,
    shard_users: Annotated[
        int, typer.Option(min=1, help="Users in a file: what an interrupted run repeats at most.")
    ] = 2048,
    titles: Annotated[
        TitleStyle, typer.Option(help="How titles are cleaned, for models of others.")
    ] = "fair",
    base: BaseFolder = None,
    keep_adapters: Annotated[
        bool, typer.Option("--keep-adapters", help="Do not merge an adapter into its base model.")
    ] = False,
    quantization: Annotated[
        Quantization,
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
    """Let a model write titles for every user of a split; an interrupted call goes on where it was.

    Example: gloss generate -m models/toys -d data/toys -o runs/toys/generations
    """
    from gloss.cli import output
    from gloss.config import Decoding, Loading
    from gloss.experiment import stages
    from gloss.experiment.loading import checked

    loading = checked(
        Loading,
        base=base,
        keep_adapters=keep_adapters,
        quantization=quantization,
        context=context,
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
