"""From rankings and targets to figures, and figures on disk.

per_user.parquet     user, and a column for each metric
metrics.json         means and bootstrap intervals, of all users and of each segment; figures
                     beyond accuracy (beyond.py, beams.py)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from gloss.arrays import Ints
from gloss.artifacts import Artifact, ArtifactConfig, Draft, read_artifact
from gloss.artifacts.content import read_json, read_table, require
from gloss.choices import ProtocolName, SplitName
from gloss.data.example_table import ExampleTable
from gloss.data.histories import Example, UserId
from gloss.errors import ConfigError, InputError
from gloss.evaluation.metrics import Floats, all_metrics
from gloss.evaluation.segments import Mask, SegmentBounds
from gloss.evaluation.targets import TargetRanks, Targets
from gloss.rankings.ranking import Ranking
from gloss.rankings.table import RankingTable

__all__ = [
    "KIND",
    "Evaluation",
    "EvaluationConfig",
    "evaluate",
    "evaluation_of",
    "examples_of",
    "figures",
    "load_evaluation",
    "read_figures",
    "write_evaluation",
]

KIND = "evaluation"

_PER_USER = "per_user.parquet"
_METRICS = "metrics.json"
_FIGURES = ("mean", "low", "high")


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The value of each metric for each user. values: metric -> float64 (users,)."""

    protocol: str
    users: tuple[UserId, ...]
    values: Mapping[str, Floats]

    def means(self) -> dict[str, float]:
        """The mean of each metric; empty where there are no users."""
        if not self.users:
            return {}
        return {metric: float(values.mean()) for metric, values in self.values.items()}

    def interval(
        self, metric: str, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
    ) -> tuple[float, float]:
        """The confidence interval of the mean: percentiles of a bootstrap over users.

        Raises ConfigError for an unknown metric or an impossible level, InputError without users.
        """
        if metric not in self.values:
            raise ConfigError(f"no metric {metric!r}, measured were {', '.join(self.values)}")
        if not 0 < level < 1:
            raise ConfigError(f"a confidence level lies between 0 and 1, not at {level}")
        if not self.users:
            raise InputError("no users: there is no interval")
        means = _bootstrap_means(self.values[metric], resamples, np.random.default_rng(seed))
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def restrict(self, users: Collection[UserId]) -> Evaluation:
        """The same figures for these users alone, in the order they have here.

        Raises InputError naming a user who was not evaluated.
        """
        wanted = frozenset(users)
        unknown = wanted.difference(self.users)
        if unknown:
            raise InputError(f"user {min(unknown)} was not evaluated")
        return self.among(np.array([user in wanted for user in self.users], dtype=bool))

    def among(self, kept: Mask) -> Evaluation:
        """The same figures for some of the users. kept: bool (users,)."""
        values = {metric: values[kept] for metric, values in self.values.items()}
        return Evaluation(self.protocol, tuple(compress(self.users, kept)), values)


class EvaluationConfig(ArtifactConfig):
    """What was measured, and how.

    length: of the lists, as far as they counted. ranker, rankers, index, exclude_seen: how the
    ranking was made (rankings/records.py).
    """

    protocol: ProtocolName
    split: SplitName
    cutoffs: tuple[int, ...]
    bounds: SegmentBounds
    length: int
    ranker: str | None
    rankers: tuple[str, ...] | None
    index: dict[str, Any] | None
    exclude_seen: bool


def evaluate(
    rankings: Sequence[Ranking],
    examples: Sequence[Example],
    cutoffs: Sequence[int],
    *,
    protocol: str,
) -> Evaluation:
    """Measure each user's list against the target, the item that the user bought next.

    The rankings may be those of some of the examples, in any order: `evaluation.users`, in the
    order of the examples, says whom. Raises InputError naming a user who is unknown or ranked
    twice.
    """
    measured = TargetRanks(Targets.of([ExampleTable.of(examples)]))
    measured.add(RankingTable.of(rankings))
    targets, ranks = measured.ranked()
    return evaluation_of(targets, ranks, cutoffs, protocol=protocol)


def evaluation_of(
    targets: Targets, ranks: Ints, cutoffs: Sequence[int], *, protocol: str
) -> Evaluation:
    """Of what `TargetRanks.ranked` returns."""
    return Evaluation(protocol, tuple(targets.users.to_list()), all_metrics(ranks, cutoffs))


def examples_of(rankings: Sequence[Ranking], examples: Sequence[Example]) -> ExampleTable:
    """The examples of the rankings' users, in their order. Raises what `evaluate` raises."""
    lists, asked = RankingTable.of(rankings), ExampleTable.of(examples)
    measured = TargetRanks(Targets.of([asked]))
    measured.add(lists)
    measured.ranked()
    return asked.of_users(lists.users)


def figures(evaluation: Evaluation) -> dict[str, Any]:
    """The number of users, and the mean and the 95 % interval of each metric."""
    metrics = {
        metric: dict(zip(_FIGURES, (mean, *evaluation.interval(metric)), strict=True))
        for metric, mean in evaluation.means().items()
    }
    return {"users": len(evaluation.users), "metrics": metrics}


def write_evaluation(
    draft: Draft,
    evaluation: Evaluation,
    *,
    segments: Mapping[str, Mask],
    beyond: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Fill the draft of an evaluation.

    segments: masks over `evaluation.users` (`segments_of(lengths, bounds)`). beyond:
    figures beyond accuracy, as JSON. The summary holds the number of users and the means.
    """
    report = {
        "protocol": evaluation.protocol,
        "overall": figures(evaluation),
        "segments": {name: figures(_segment(evaluation, mask)) for name, mask in segments.items()},
        "beyond": dict(beyond),
    }
    frame = pl.DataFrame({"user": evaluation.users, **evaluation.values})
    frame.write_parquet(draft.path / _PER_USER)
    draft.write_json(_METRICS, report)
    draft.summary.update({"users": len(evaluation.users), **evaluation.means()})


def read_figures(artifact: Artifact) -> dict[str, Any]:
    """What was measured: "protocol", "overall" and "segments" as `figures`, "beyond"."""
    with artifact.reading():
        file = artifact.file(_METRICS)
        document: dict[str, Any] = read_json(file, dict)
        parts = (document["overall"], *document["segments"].values())
        require(all(map(_are_figures, parts)), file, "its figures are none")
        require(isinstance(document["beyond"], dict), file, "its figures are none")
    return document


def load_evaluation(path: Path) -> tuple[Artifact, Evaluation]:
    """Open the folder that `gloss evaluate` made; ArtifactError if it is not whole."""
    return read_artifact(path, KIND, lambda artifact: (artifact, _evaluation_in(artifact)))


def _evaluation_in(artifact: Artifact) -> Evaluation:
    file = artifact.file(_PER_USER)
    frame = read_table(file, {"user": pl.String})
    metrics = [name for name in frame.columns if name != "user"]
    frame = read_table(file, dict.fromkeys(metrics, pl.Float64))
    values = {metric: frame[metric].to_numpy() for metric in metrics}
    for each in values.values():
        require(bool(((each >= 0) & (each <= 1)).all()), file, "a figure is not between 0 and 1")
    return Evaluation(EvaluationConfig.of(artifact).protocol, tuple(frame["user"]), values)


def _are_figures(found: Any) -> bool:
    """Whether this is what `figures` makes."""
    return type(found["users"]) is int and all(
        isinstance(each[name], float) for each in found["metrics"].values() for name in _FIGURES
    )


def _segment(evaluation: Evaluation, mask: Mask) -> Evaluation:
    if len(mask) != len(evaluation.users):
        raise InputError(
            f"a segment was made for {len(mask)} users, {len(evaluation.users)} were evaluated"
        )
    return evaluation.among(mask)


def _bootstrap_means(values: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """float64 (resamples,): means of draws of as many users, with replacement.

    How often a draw holds each distinct value is multinomial. A metric takes few distinct values,
    so this costs a hundredth of drawing users one by one. The values 0 0 1 of three users:

        distinct   0 1
        counts     2 1
        a draw     1 2, with probability 3 · (2/3) · (1/3)²; its mean is (1 · 0 + 2 · 1) / 3
    """
    distinct, counts = np.unique(values, return_counts=True)
    draws = rng.multinomial(len(values), counts / len(values), size=resamples)
    means: Floats = draws @ distinct / len(values)
    return means
