"""`gloss report`: one page about runs and evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gloss.cli.options import Json

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(report)


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Run folders, and folders made by `gloss evaluate`."),
    ],
    data: Annotated[
        list[Path] | None,
        typer.Option("-d", "--data", help="Data sets of evaluations without a run; repeat."),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="The page to write.")] = Path(
        "report.html"
    ),
    tables: Annotated[
        Path | None, typer.Option(help="A folder for each table as CSV and LaTeX.")
    ] = None,
    title: Annotated[str, typer.Option(help="Of the page (default: the run's name).")] = "",
    json: Json = False,
) -> None:
    """One page about runs and evaluations, with the published figures for comparison.

    Example: gloss report runs/toys-scratch-cpu -o report.html --tables tables
    """
    import shlex
    import sys

    from gloss.cli import output
    from gloss.experiment.stages import report as stage

    command = shlex.join(["gloss", *sys.argv[1:]])
    reports = stage.report_on(runs, data or (), command=command)
    stage.write_report(reports, out, title=title)
    written = stage.write_tables(reports, tables) if tables else []
    if json:
        output.print_json({"report": str(out), "tables": [str(path) for path in written]})
        return
    for each in reports:
        output.print_report(each)
    output.print_line(f"Report: {out}")
    if tables:
        output.print_line(f"Tables: {tables} ({len(written)} files)")
