"""From artefacts on disk to what a report says: the only part of `report` that opens files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gloss.artifacts import Artifact
from gloss.data.catalogue import Catalogue
from gloss.data.dataset import Dataset, SplitName
from gloss.data.histories import Example
from gloss.errors import InputError
from gloss.evaluation.evaluate import load_evaluation, read_figures
from gloss.report.content import Report, Row, Sample, Segment, SegmentTable, Suggestion
from gloss.report.published import published_rows, published_segments
from gloss.retrieval.fusion import Ranking
from gloss.retrieval.rankings import load_rankings

__all__ = ["assemble", "draw_samples"]

_BASELINES = {
    "last-item": "Last-item search, BM25",
    "popularity": "Popularity",
    "transitions": "Transition graph",
    "two-step": "Transition graph, two steps",
    "text": "Similar titles",
    "sasrec": "SASRec, full softmax",
}


def assemble(
    evaluations: Mapping[str, Path],
    dataset: Dataset,
    *,
    title: str,
    facts: Mapping[str, str] | None = None,
    samples: Sequence[Sample] = (),
    command: str = "",
) -> Report:
    """A report of evaluations (label -> folder) of one data set, published figures beside them.

    Raises InputError when the evaluations are of different protocols.
    """
    opened = {label: load_evaluation(path)[0] for label, path in evaluations.items()}
    protocols = {artifact.config["protocol"] for artifact in opened.values()}
    if len(protocols) != 1:
        raise InputError(
            f"one report needs one protocol, these have {', '.join(sorted(protocols))}"
        )
    for artifact in opened.values():
        artifact.require_input("dataset", dataset.fingerprint, f"the data set {dataset.path}")
    protocol = protocols.pop()
    ours = [_row(label, artifact) for label, artifact in opened.items()]
    parts = [_segments(label, artifact) for label, artifact in opened.items()]
    return Report(
        title=title,
        dataset=dataset.name,
        protocol=protocol.upper(),
        split=dataset.split,
        rows=(*ours, *published_rows(dataset.name, protocol)),
        segments=(*parts, *published_segments(dataset.name)),
        samples=tuple(samples),
        facts={**dataset_facts(dataset), **(facts or {})},
        synthetic=dataset.is_synthetic,
        command=command,
    )


def dataset_facts(dataset: Dataset) -> dict[str, str]:
    """What a reader wants to know about the data, label to text."""
    counts = ("users", "purchases", "catalogue", "training users", "test users")
    return {name.capitalize(): f"{dataset.summary[name]:,}" for name in counts}


def draw_samples(
    ranking: Path, dataset: Dataset, catalogue: Catalogue, *, count: int = 3, seed: int = 0
) -> tuple[Sample, ...]:
    """Users drawn at random, with what was recommended to them: neither the best nor the worst."""
    made, lists = load_rankings(ranking)
    split: SplitName = made.config["split"]
    examples = {example.user: example for example in dataset.examples(split)}
    chosen = np.random.default_rng(seed).choice(len(lists), min(count, len(lists)), replace=False)
    drawn = [lists[place] for place in sorted(chosen.tolist())]
    return tuple(_sample(each, examples[each.user], catalogue) for each in drawn)


def _sample(ranking: Ranking, example: Example, catalogue: Catalogue, shown: int = 5) -> Sample:
    suggestions = tuple(
        Suggestion(catalogue.title(e.item), e.query, is_target=e.item == example.target)
        for e in ranking.entries[:shown]
    )
    history = tuple(map(catalogue.title, example.history))
    return Sample(example.user, history, suggestions, catalogue.title(example.target))


def _row(label: str, artifact: Artifact) -> Row:
    overall = read_figures(artifact)["overall"]
    metrics = overall["metrics"]
    name = artifact.config["baseline"]
    return Row(
        model=_BASELINES.get(name, label),
        values={metric: each["mean"] for metric, each in metrics.items()},
        intervals={metric: (each["low"], each["high"]) for metric, each in metrics.items()},
        users=overall["users"],
        kind="baseline" if name else "ours",
    )


def _segments(label: str, artifact: Artifact) -> SegmentTable:
    return SegmentTable(
        model=_row(label, artifact).model,
        segments={
            name: Segment(
                users=each["users"],
                values={metric: value["mean"] for metric, value in each["metrics"].items()},
            )
            for name, each in read_figures(artifact)["segments"].items()
        },
    )
