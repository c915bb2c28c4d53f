"""The `gloss` command: puts the command groups together, and turns errors into one line.

Everything heavy is imported inside commands, so that `gloss --help` answers at once.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated

import typer

from gloss.cli import (
    baseline,
    comparing,
    doctor,
    encoder,
    experiment,
    indexing,
    items,
    model,
    models,
    prepare,
    ranking,
    recommend,
)
from gloss.errors import GlossError

__all__ = ["app", "main"]

_INTERRUPTED = 130

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

experiment.register(app)
prepare.register(app)
model.register(app)
models.register(app)
indexing.register(app)
ranking.register(app)
baseline.register(app)
items.register(app)
comparing.register(app)
encoder.register(app)
recommend.register(app)
doctor.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("gloss-rec"))
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the whole trace of an error; fits anywhere.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line. Exit code 2: a wrong call; 1: a failure; 130: interrupted."""
    # Threads that wait for each other must sleep, not spin: beside one other busy process, spinning
    # made training on two cores twenty times slower. OpenMP reads this when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # What a command makes lives until its end: looking through millions of small objects for dead
    # cycles again and again took a third of the time of a ranking.
    gc.set_threshold(200_000, 20, 100)
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(arguments, standalone_mode=True)
    except GlossError as error:
        if debug:
            raise
        _complain(str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has had enough; nothing is left to say, nor anybody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if debug:
            raise
        _complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        sys.exit(1)


def _complain(message: str) -> None:
    line = " ".join(message.split())
    print(f"error: {line}", file=sys.stderr)
