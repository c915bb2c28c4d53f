"""The commands put together as one application; each has a file of its name.

Everything heavy is imported inside commands, so that `gloss --help` answers at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from gloss.cli import (
    baseline,
    bundle,
    compare,
    doctor,
    encoder,
    evaluate,
    export,
    fuse,
    generate,
    import_,
    index,
    items,
    mcp,
    models,
    prepare,
    rank,
    recommend,
    report,
    run,
    serve,
    train,
    update,
)
from gloss.errors import UsageError
from gloss.training.processes import process_count

__all__ = ["app"]

_FOR_SEVERAL_PROCESSES = ("train", "generate", "baseline")

app = typer.Typer(
    name="gloss",
    help="Generative recommendation: a language model writes the titles of what people will want "
    "next, a retriever finds them in your catalogue.",
    epilog="Start with: gloss demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# In the order of the work, which `gloss --help` keeps.
for command in (
    run,
    report,
    prepare,
    train,
    models,
    generate,
    index,
    items,
    rank,
    baseline,
    encoder,
    fuse,
    import_,
    evaluate,
    compare,
    export,
    bundle,
    update,
    recommend,
    serve,
    mcp,
    doctor,
):
    command.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("gloss-rec"))
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the whole trace of an error; fits anywhere.")
    ] = False,
) -> None:
    if process_count() > 1 and context.invoked_subcommand not in _FOR_SEVERAL_PROCESSES:
        raise UsageError(
            f"gloss {context.invoked_subcommand} is work of one process: start it without "
            f"torchrun, which is for {', '.join(_FOR_SEVERAL_PROCESSES)}"
        )
