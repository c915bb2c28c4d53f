"""`gloss demo`, `gloss run`, `gloss report`: whole experiments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gloss.cli.options import Json

if TYPE_CHECKING:
    from gloss.experiment.settings import Experiment

__all__ = ["register"]

RunOut = Annotated[
    Path | None, typer.Option("-o", "--out", help="The run folder (default: runs/NAME).")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check and print the settings; do nothing.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(demo)
    app.command()(run)
    app.command()(report)


def demo(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="Settings to change."),
    ] = None,
    out: RunOut = None,
    json: Json = False,
) -> None:
    """The whole pipeline on the built-in synthetic shop: minutes on a laptop, no download.

    Example: gloss demo
    """
    import yaml

    from gloss.experiment.loading import with_overrides

    settings = yaml.safe_load((Path(__file__).parent / "demo.yaml").read_text("utf-8"))
    _run(with_overrides(settings, overrides or []), out, json=json, people=True)


def run(
    config: Annotated[Path, typer.Argument(help="An experiment, as in configs/.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="Settings to change."),
    ] = None,
    out: RunOut = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Run an experiment, stage by stage; what is done is not redone, Ctrl-C and kill -9 are safe.

    Example: gloss run configs/toys-scratch-cpu.yaml training.epochs=3
    """
    from gloss.experiment.loading import load_experiment

    experiment = load_experiment(config, overrides or [])
    if dry_run:
        import yaml

        print(yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False), end="")
        return
    _run(experiment, out, json=json, people=False)


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Run folders, and folders made by `gloss evaluate`."),
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
    """One page about runs and evaluations, of one data set or of several, the published figures
    beside them.

    Example: gloss report runs/toys-scratch-cpu -o report.html --tables tables
    """
    import shlex
    import sys

    from gloss.cli import output
    from gloss.experiment.stages import report as reporting

    command = shlex.join(["gloss", *sys.argv[1:]])
    made = reporting.report_on(runs, data or (), command=command)
    reporting.write_report(made, out, title=title)
    written = reporting.write_tables(made, tables) if tables else []
    if json:
        output.print_json({"report": str(out), "tables": [str(path) for path in written]})
        return
    for each in made:
        output.print_report(each)
    output.print_line(f"Report: {out}")
    if tables:
        output.print_line(f"Tables: {tables} ({len(written)} files)")


def _run(experiment: Experiment, out: Path | None, *, json: bool, people: bool) -> None:
    from gloss.cli import output
    from gloss.experiment import pipeline

    folder = out or Path("runs") / experiment.name
    made = pipeline.run(experiment, folder, announce=output.announce)
    if json:
        output.print_json({row.label: {"users": row.users, **row.values} for row in made.rows})
        return
    if people:
        output.print_people(made)
    output.print_report(made)
    output.print_line(f"Report: {folder / 'report.html'}")
