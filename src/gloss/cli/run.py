"""`gloss demo` and `gloss run`: whole experiments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gloss.cli.options import Config, Force, Json, Overrides

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


def demo(overrides: Overrides = None, out: RunOut = None, json: Json = False) -> None:
    """The whole pipeline on the built-in synthetic shop: minutes on a laptop, no download.

    Example: gloss demo
    """
    import yaml

    from gloss.experiment.loading import with_overrides

    settings = yaml.safe_load((Path(__file__).parent / "demo.yaml").read_text("utf-8"))
    _run(with_overrides(settings, overrides or []), out, json=json, people=True)


def run(
    config: Config,
    overrides: Overrides = None,
    out: RunOut = None,
    dry_run: DryRun = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Run an experiment, stage by stage; finished stages are kept, and it may be killed any time.

    Example: gloss run configs/toys-scratch-cpu.yaml training.epochs=3
    """
    from gloss.experiment.loading import load_experiment

    experiment = load_experiment(config, overrides or [])
    if dry_run:
        import yaml

        print(yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False), end="")
        return
    _run(experiment, out, json=json, people=False, force=force)


def _run(
    experiment: Experiment, out: Path | None, *, json: bool, people: bool, force: bool = False
) -> None:
    from gloss.cli import output
    from gloss.data.dataset import Dataset
    from gloss.data.preparation import LEFT_OUT
    from gloss.experiment import pipeline
    from gloss.experiment.feasibility import require_room
    from gloss.experiment.run_folder import RunFolder

    folder = out or Path("runs") / experiment.name
    if not force:
        require_room(experiment, folder)
    made = pipeline.run(experiment, folder, announce=output.announce)
    output.note_left_out(Dataset.load(RunFolder(folder).data).summary, LEFT_OUT)
    if json:
        output.print_json({row.label: {"users": row.users, **row.values} for row in made.rows})
        return
    if people:
        output.print_samples(made)
    output.print_report(made)
    output.print_line(f"Report: {folder / 'report.html'}")
