"""`gloss recommend`: recommendations for one history, or for a file of them."""

from __future__ import annotations

from dataclasses import asdict
from json import loads
from pathlib import Path
from typing import Annotated

import typer

from gloss.cli.options import Json
from gloss.errors import ConfigError, InputError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(recommend)


def recommend(
    recommender: Annotated[
        Path, typer.Option("-m", "--recommender", help="A run folder made by `gloss run`.")
    ],
    history: Annotated[
        list[str] | None,
        typer.Option("--history", help="A title that was bought, earliest first; repeat."),
    ] = None,
    histories: Annotated[
        Path | None,
        typer.Option(
            "--histories", help="Many histories at once: JSON Lines, a list of titles a line."
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items.")] = 10,
    fused: Annotated[
        bool | None,
        typer.Option(
            "--fused/--alone",
            help="The language model with the run's other rankers, or alone (default: fused, where "
            "the run has it).",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """What somebody will want next, and the generated title or the purchase that led there.

    Example: gloss recommend -m runs/demo --history "Title A" --history "Title B" -k 5
    """
    from gloss.cli import output

    if (history is None) == (histories is None):
        raise ConfigError("give one history (--history TITLE …) or many (--histories FILE)")
    titles = _read(histories) if histories else [history or []]
    # Imported after the histories were read, whose faults are then said at once.
    from gloss.recommender.recommender import Recommender

    lists = Recommender.load(recommender, fused=fused).recommend(titles, k)
    if json:
        documents = [[asdict(item) for item in items] for items in lists]
        output.print_json(documents if histories else documents[0])
        return
    for number, items in enumerate(lists, 1):
        if histories:
            output.print_line(f"history {number}", style="italic")
        output.print_recommendations(items)


def _read(histories: Path) -> list[list[str]]:
    from gloss.data.readers.lines import input_errors

    with input_errors(histories):
        lines = histories.read_bytes().split(b"\n")
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise InputError(f"{histories} is empty")
    return [_titles(line, f"{histories}:{number}") for number, line in numbered]


def _titles(line: bytes, where: str) -> list[str]:
    from gloss.data.readers.lines import repair_text

    try:
        titles = loads(line)
    except ValueError as error:
        raise InputError(f"{where} is not JSON: {error}") from None
    if not (isinstance(titles, list) and all(isinstance(title, str) for title in titles)):
        raise InputError(f"{where} is not a list of titles")
    return [repair_text(title) for title in titles]
