"""`gloss demo` and `gloss run`: whole experiments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gloss.cli.options import Config, Force, Json, Overrides, Ray, workers_of

if TYPE_CHECKING:
    from gloss.experiment.settings import Experiment

__all__ = ["register"]

RunOut = Annotated[
    Path | None, typer.Option("-o", "--out", help="The run folder (default: runs/NAME).")
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Check and print the settings as the data complete them, and what training the "
        "language model takes; do nothing.",
    ),
]


_SPREAD = "recall@5"
"""What is shown of several seeds, or the first metric where lists are cut elsewhere."""

WithModel = Annotated[
    bool,
    typer.Option("--model/--no-model", help="With the language model, or with rankers alone."),
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
    model: WithModel = True,
    dry_run: DryRun = False,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds",
            min=1,
            help="Runs with so many seeds, the further ones in OUT/seeds: how much of a figure "
            "chance in training makes, which few users do not show.",
        ),
    ] = 1,
    force: Force = False,
    ray: Ray = None,
    json: Json = False,
) -> None:
    """Run an experiment, stage by stage; finished stages are kept, and it may be killed any time.

    With data.cold_items=0.1 a tenth of the items is held out of all training, added as `gloss
    update` does, and it is measured how they are found.

    Example: gloss run configs/toys-scratch-cpu.yaml training.epochs=3
    """
    from gloss.experiment.loading import load_experiment

    experiment = load_experiment(config, overrides or [])
    if dry_run:
        _plan(experiment, out or Path("runs") / experiment.name)
        return
    if model:
        _run(experiment, out, json=json, people=False, force=force, seeds=seeds, ray=ray)
    else:
        folder = out or Path("runs") / experiment.name
        _run_rankers(experiment, folder, json=json, force=force, seeds=seeds, ray=ray)


def _plan(experiment: Experiment, folder: Path) -> None:
    """Print the settings, and beside them what training costs."""
    import yaml

    from gloss.cli import output
    from gloss.errors import InputError
    from gloss.experiment.planning import planned

    cost = None
    try:
        experiment, cost = planned(experiment, folder)
    except InputError as error:
        output.note(f"what is not set follows the data, which were not read: {error}")
    print(yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False), end="")
    if cost:
        output.note(
            f"training the language model: {cost.steps:,} steps, {cost.tokens:,} tokens, "
            f"{cost.parameters:,} parameters; on this machine about {_minutes(cost.seconds())} and "
            f"{cost.bytes / 2**30:.1f} GB of memory"
        )


def _minutes(seconds: float) -> str:
    """
    >>> _minutes(20), _minutes(600), _minutes(90_000)
    ('1 minute', '10 minutes', '25 hours')
    """
    if seconds >= 2 * 3600:
        return f"{seconds / 3600:.0f} hours"
    minutes = max(1, round(seconds / 60))
    return f"{minutes} minute{'s' if minutes > 1 else ''}"


def _run(
    experiment: Experiment,
    out: Path | None,
    *,
    json: bool,
    people: bool,
    force: bool = False,
    seeds: int = 1,
    ray: str | None = None,
) -> None:
    from gloss.cli import output
    from gloss.experiment import pipeline
    from gloss.experiment.feasibility import require_room
    from gloss.experiment.run_folder import RunFolder
    from gloss.experiment.seeds import spreads
    from gloss.report.content import best_row, main_metric
    from gloss.report.headline import on_noise

    folder = out or Path("runs") / experiment.name
    if not force:
        require_room(experiment, folder)
    with workers_of(ray) as workers:
        made = pipeline.run_seeds(
            experiment,
            folder,
            seeds=seeds,
            announce=output.announce,
            force=force,
            workers=workers,
        )
    cold = _cold_items(experiment, folder, model=True)
    _note_left_out(folder)
    if json:
        found = {row.label: {"users": row.users, **row.values} for row in made.rows}
        output.print_json(found | ({"cold items": cold} if cold else {}))
        return
    if people:
        output.print_samples(made)
    output.print_report(made)
    metric = main_metric(made.rows)
    if seeds > 1:
        output.print_spreads(spreads(RunFolder(folder), metric))
    if remark := on_noise(best_row(made.rows, "ours", metric), metric):
        output.note(remark)
    if cold:
        output.print_cold_items(cold)
    output.print_line(f"Report: {folder / 'report.html'}")


def _run_rankers(
    experiment: Experiment, folder: Path, *, json: bool, force: bool, seeds: int, ray: str | None
) -> None:
    """The same without a language model; there is no page without one."""
    from gloss.cli import output
    from gloss.evaluation.evaluate import load_evaluation
    from gloss.experiment import pipeline
    from gloss.experiment.feasibility import require_room
    from gloss.experiment.run_folder import RANKERS, RunFolder
    from gloss.experiment.seeds import spreads

    if not force:
        require_room(experiment, folder, model=False)
    with workers_of(ray) as workers:
        made = pipeline.run_rankers(
            experiment, folder, seeds=seeds, announce=output.announce, workers=workers
        )
    cold = _cold_items(experiment, folder, model=False)
    _note_left_out(folder)
    evaluations = {name: load_evaluation(path)[1] for name, path in made.items()}
    if json:
        found = {name: {"users": len(e.users), **e.means()} for name, e in evaluations.items()}
        output.print_json(found | ({"cold items": cold} if cold else {}))
        return
    output.print_evaluations({name: each.means() for name, each in evaluations.items()})
    if seeds > 1:
        metrics = [*evaluations[RANKERS].means()]
        shown = _SPREAD if _SPREAD in metrics else metrics[0]
        output.print_spreads(spreads(RunFolder(folder), shown))
    if cold:
        output.print_cold_items(cold)


def _cold_items(experiment: Experiment, folder: Path, *, model: bool) -> dict[str, Any] | None:
    """The figures of items that were held out, where they were."""
    if not experiment.data.cold_items:
        return None
    from gloss.cli import output
    from gloss.experiment import cold_items

    made = cold_items.measure(folder, model=model, announce=output.announce)
    return cold_items.read_figures(made)


def _note_left_out(folder: Path) -> None:
    from gloss.cli import output
    from gloss.data.dataset import Dataset
    from gloss.data.preparation import LEFT_OUT
    from gloss.experiment.run_folder import RunFolder

    output.note_left_out(Dataset.load(RunFolder(folder).data).summary, LEFT_OUT)
