"""One experiment with several seeds: how much of a figure the seed alone makes.

    RUN/seeds/SEED/     the same run with another seed, a run folder like any other

Users are the same in all of them, so what differs is chance in training alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean, stdev

from gloss.artifacts import MANIFEST, open_artifact
from gloss.errors import ConfigError
from gloss.evaluation.evaluate import KIND
from gloss.experiment.loading import load_experiment
from gloss.experiment.run_folder import RunFolder
from gloss.experiment.settings import Experiment

__all__ = ["Spread", "spreads"]


@dataclass(frozen=True, slots=True)
class Spread:
    """A metric of one list with several seeds. name: of the evaluation; values: the run's own
    first."""

    name: str
    metric: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of all seeds."""
        return mean(self.values)

    @property
    def deviation(self) -> float:
        """The standard deviation from seed to seed, σ = √(Σ (x - mean)² / (n - 1))."""
        return stdev(self.values)


def spreads(run: RunFolder, metric: str) -> tuple[Spread, ...]:
    """Of each evaluation of a run that has this metric, and was made with two seeds or more."""
    runs = [run, *_others(run)]
    found = []
    for name in run.evaluations():
        artifacts = [
            open_artifact(each.evaluation(name), KIND)
            for each in runs
            if (each.evaluation(name) / MANIFEST).is_file()
        ]
        values = tuple(each.summary[metric] for each in artifacts if metric in each.summary)
        if len(values) > 1:
            found.append(Spread(name, metric, values))
    return tuple(found)


def _others(run: RunFolder) -> list[RunFolder]:
    """The runs with other seeds, as far as their settings are the run's own."""
    own = _without_seed(run)
    folders = [
        RunFolder(path.parent) for path in sorted(run.path.glob(f"seeds/*/{run.config.name}"))
    ]
    return [folder for folder in folders if own is not None and _without_seed(folder) == own]


def _without_seed(run: RunFolder) -> Experiment | None:
    """A run's settings but for the seed; None where another version has made it."""
    try:
        return load_experiment(run.config).model_copy(update={"seed": 0})
    except ConfigError:
        return None
