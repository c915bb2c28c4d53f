"""`gloss demo`, `gloss run`, `gloss report`: whole experiments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gloss.cli.options import Json

if TYPE_CHECKING:
    from gloss.config import Experiment

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

    from gloss.config import with_overrides

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
    from gloss.config import load_experiment

    experiment = load_experiment(config, overrides or [])
    if dry_run:
        import yaml

        print(yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False), end="")
        return
    _run(experiment, out, json=json, people=False)


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders on the same data.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The page to write.")] = Path(
        "report.html"
    ),
) -> None:
    """One page about one or more runs, published figures beside them.

    Example: gloss report runs/toys-scratch-cpu -o report.html
    """
    from gloss.cli import output
    from gloss.pipeline import report_on, write_report
    from gloss.runs import RunFolder

    made = report_on([RunFolder.open(run) for run in runs])
    write_report(made, out)
    output.print_report(made)
    output.print_line(f"Report: {out}")


def _run(experiment: Experiment, out: Path | None, *, json: bool, people: bool) -> None:
    from gloss import pipeline
    from gloss.cli import output

    folder = out or Path("runs") / experiment.name
    made = pipeline.run(experiment, folder, announce=output.announce)
    if json:
        output.print_json({row.model: {"users": row.users, **row.values} for row in made.rows})
        return
    if people:
        output.print_people(made)
    output.print_report(made)
    output.print_line(f"Report: {folder / 'report.html'}")
