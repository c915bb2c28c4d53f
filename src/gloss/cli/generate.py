"""`gloss generate`: the titles that a model writes for every user of a split."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gloss.choices import Cut, DecodingMode, Engine, Quantization, TitleStyle
from gloss.cli.options import Data, Json, LimitUsers, Out, Ray, SplitOf, setting, workers_of
from gloss.config import Decoding, Loading
from gloss.data.readers.lines import input_errors
from gloss.errors import ConfigError

if TYPE_CHECKING:
    from gloss.decoding.completions import CompletionsServer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(generate)


_USUAL, _AS_IT_IS = Decoding(), Loading()
_KEY_VARIABLE = "GLOSS_SERVER_KEY"


def _require_for_a_server(loading: Loading, *, dry_run: bool) -> None:
    """Raise ConfigError for options of a model that is loaded here."""
    if dry_run or loading != Loading(context=loading.context):
        raise ConfigError(
            "the server has loaded its model: leave out --dry-run, --base, --keep-adapters, "
            "--quantization and --engine, or --server"
        )


def _server(url: str, model: str, key_file: Path | None) -> CompletionsServer:
    """The server, with the key of a file or of the environment."""
    from gloss.decoding.completions import CompletionsServer

    key = os.environ.get(_KEY_VARIABLE)
    if key_file is not None:
        with input_errors(key_file):
            key = key_file.read_text("utf-8")
    return CompletionsServer(url, model, key=key.strip() if key else None)


def generate(
    model: Annotated[Path, typer.Option("-m", "--model", help="A model folder.")],
    data: Data,
    out: Out,
    split: SplitOf = "test",
    decoding: Annotated[DecodingMode, setting(Decoding, "mode", "--decoding")] = _USUAL.mode,
    beams: Annotated[int, setting(Decoding, "beams")] = _USUAL.beams,
    returned: Annotated[int | None, setting(Decoding, "returned")] = _USUAL.returned,
    max_new_tokens: Annotated[int, setting(Decoding, "max_new_tokens")] = _USUAL.max_new_tokens,
    length_penalty: Annotated[float, setting(Decoding, "length_penalty")] = _USUAL.length_penalty,
    cut: Annotated[Cut, setting(Decoding, "cut")] = _USUAL.cut,
    batch_tokens: Annotated[int | None, setting(Decoding, "batch_tokens")] = _USUAL.batch_tokens,
    shard_users: Annotated[int, setting(Decoding, "shard_users")] = _USUAL.shard_users,
    titles: Annotated[
        TitleStyle, typer.Option(help="How titles are cleaned, for models of others.")
    ] = "fair",
    base: Annotated[Path | None, setting(Loading, "base")] = _AS_IT_IS.base,
    keep_adapters: Annotated[
        bool, setting(Loading, "keep_adapters", "--keep-adapters")
    ] = _AS_IT_IS.keep_adapters,
    quantization: Annotated[
        Quantization, setting(Loading, "quantization")
    ] = _AS_IT_IS.quantization,
    context: Annotated[int | None, setting(Loading, "context")] = _AS_IT_IS.context,
    engine: Annotated[Engine, setting(Loading, "engine")] = _AS_IT_IS.engine,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="An OpenAI-compatible server with a model of this name: docs/howto/engines.md.",
        ),
    ] = None,
    server_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help=f"A file with the server's key (default: from {_KEY_VARIABLE})."
        ),
    ] = None,
    limit_users: LimitUsers = None,
    ray: Ray = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many users, tokens, seconds and bytes.")
    ] = False,
    json: Json = False,
) -> None:
    """Let a model write titles for every user of a split; an interrupted call goes on where it was.

    Several GPUs share out the files: torchrun --nproc-per-node 8 -m gloss generate …

    Example: gloss generate -m models/toys -d data/toys -o runs/toys/generations
    """
    from gloss.cli import output
    from gloss.experiment import stages
    from gloss.experiment.loading import checked

    loading = checked(
        Loading,
        base=base,
        keep_adapters=keep_adapters,
        quantization=quantization,
        context=context,
        engine=engine,
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
    if server is not None:
        if ray is not None:
            raise ConfigError("--server runs the model itself: leave out --ray")
        _require_for_a_server(loading, dry_run=dry_run)
        with output.announce("generate") as progress:
            made = stages.generate_by_server(
                _server(server, str(model), server_key),
                data,
                out,
                split=split,
                settings=settings,
                titles=titles,
                limit_users=limit_users,
                context=context,
                progress=progress,
            )
        output.print_made(made, json=json)
        return
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
    with workers_of(ray) as workers, output.announce("generate") as progress:
        made = stages.generate(
            model,
            data,
            out,
            split=split,
            settings=settings,
            titles=titles,
            limit_users=limit_users,
            loading=loading,
            workers=workers,
            progress=progress,
        )
    output.print_made(made, json=json)
