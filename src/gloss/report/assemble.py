"""From artefacts on disk to what a report says: the only part of `report` that opens files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gloss.arrays import Ints
from gloss.artifacts import Artifact, open_artifact
from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.dataset import Dataset, DatasetSummary
from gloss.data.example_table import ExampleTable
from gloss.data.histories import Example
from gloss.data.preparation import LEFT_OUT
from gloss.errors import InputError
from gloss.evaluation.beams import Beam
from gloss.evaluation.beyond import TitleFigures
from gloss.evaluation.evaluate import (
    Evaluation,
    EvaluationConfig,
    figures,
    load_evaluation,
    read_figures,
)
from gloss.evaluation.protocol import PROTOCOLS
from gloss.evaluation.segments import history_lengths_of
from gloss.evaluation.significance import compare
from gloss.rankings.files import KIND as RANKING
from gloss.rankings.files import read_rows
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.records import OURS, config_of
from gloss.report.content import (
    BeyondAccuracy,
    PairedTest,
    Report,
    Row,
    Sample,
    Segment,
    SegmentTable,
    Suggestion,
    best_row,
    main_metric,
)
from gloss.report.names import baseline_name, retriever_name
from gloss.report.published import published_rows, published_segments

__all__ = ["assemble", "draw_samples"]


@dataclass(frozen=True, slots=True)
class _Opened:
    """An evaluation with the row that it fills."""

    artifact: Artifact
    evaluation: Evaluation
    row: Row

    @property
    def config(self) -> EvaluationConfig:
        """What was measured, and how."""
        return EvaluationConfig.of(self.artifact)


def assemble(
    evaluations: Mapping[str, Path],
    dataset: Dataset,
    *,
    title: str,
    facts: Mapping[str, str] | None = None,
    samples: Sequence[Sample] = (),
) -> Report:
    """A report of evaluations (label -> folder) of one data set, with its published figures.

    Labels are for models; baselines have names of their own, and of two with one name the first
    stays. Raises InputError when the evaluations are of different protocols.
    """
    opened = _opened(evaluations)
    protocols = {each.config.protocol for each in opened}
    if len(protocols) != 1:
        raise InputError(
            f"one report needs one protocol, these have {', '.join(sorted(protocols))}"
        )
    for each in opened:
        each.artifact.require_input("dataset", dataset.fingerprint, f"the data set {dataset.path}")
    protocol = protocols.pop()
    rows = tuple(each.row for each in opened)
    metric = main_metric(rows)
    examples = {each.config.split: dataset.examples(each.config.split) for each in opened}
    return Report(
        title=title,
        dataset=dataset.name,
        protocol=protocol.upper(),
        split=dataset.split,
        rows=(*rows, *published_rows(dataset.name, protocol)),
        segments=(*map(_segments, opened), *published_segments(dataset.name)),
        samples=tuple(samples),
        facts={**dataset_facts(dataset), **(facts or {})},
        synthetic=dataset.is_synthetic,
        histories=tuple(
            _histories(each, examples[each.config.split], metric)
            for each in opened
            if metric in each.row.values
        ),
        paired_test=_paired_test(opened, metric),
    )


def dataset_facts(dataset: Dataset) -> dict[str, str]:
    """Facts about the data set, label to text: its size, what was left out of it, and warnings."""
    found, summary = DatasetSummary.of(dataset.artifact), dataset.summary
    counts = {
        "Users": found.users,
        "Purchases": found.purchases,
        "Catalogue": found.catalogue,
        "Training users": found.training_users,
        "Test users": found.test_users,
    }
    counts |= {name.capitalize(): summary[name] for name in LEFT_OUT if summary.get(name)}
    facts = {name: f"{count:,}" for name, count in counts.items()}
    warnings = summary.get("warnings", ())
    return facts | ({"Warnings": " ".join(warnings)} if warnings else {})


def draw_samples(
    ranking: Path, dataset: Dataset, catalogue: Catalogue, *, count: int = 3, seed: int = 0
) -> tuple[Sample, ...]:
    """Users drawn at random (none is picked by hand), with what was recommended to them."""
    made = open_artifact(ranking, RANKING)

    def drawn(users: int) -> Ints:
        rows = np.random.default_rng(seed).choice(users, min(count, users), replace=False)
        return np.sort(rows)

    lists = read_rows(made, drawn)
    asked = dataset.examples(config_of(made).split).of_users(lists.users)
    examples = {example.user: example for example in asked}
    return tuple(_sample(ranking, examples[ranking.user], catalogue) for ranking in lists)


def _sample(ranking: Ranking, example: Example, catalogue: Catalogue, shown: int = 5) -> Sample:
    suggestions = tuple(_suggestion(entry, example, catalogue) for entry in ranking.entries[:shown])
    history = tuple(map(catalogue.title, example.history))
    return Sample(example.user, history, suggestions, catalogue.title(example.target))


def _suggestion(entry: RankedItem, example: Example, catalogue: Catalogue) -> Suggestion:
    because = entry.because
    return Suggestion(
        title=_title(entry.item, catalogue),
        why=entry.query,
        is_target=entry.item == example.target,
        because=_title(because, catalogue) if because is not None else None,
    )


def _title(item: ItemId, catalogue: Catalogue) -> str:
    """An item's title; of one that was added to an index and the data set lacks, its id."""
    return catalogue.title(item) if item in catalogue else item


def _opened(evaluations: Mapping[str, Path]) -> list[_Opened]:
    found: dict[str, _Opened] = {}
    for label, path in evaluations.items():
        artifact, evaluation = load_evaluation(path)
        row = _row(label, artifact)
        found.setdefault(row.label, _Opened(artifact, evaluation, row))
    return list(found.values())


def _row(label: str, artifact: Artifact) -> Row:
    document = read_figures(artifact)
    config = EvaluationConfig.of(artifact)
    everyone = _segment(document["overall"])
    return Row(
        model=baseline_name(config.ranker) if config.ranker else label,
        values=everyone.values,
        intervals=everyone.intervals,
        users=everyone.users,
        kind="ours" if _has_language_model(config) else "baseline",
        note=", ".join(filter(None, (_on_seen(config), _on_users(artifact.summary)))),
        retriever=retriever_name(config.index),
        beyond=_beyond(document.get("beyond", {})),
    )


def _on_seen(config: EvaluationConfig) -> str:
    """What to say where bought items are treated otherwise than the protocol does."""
    if config.exclude_seen == PROTOCOLS[config.protocol].exclude_seen:
        return ""
    return "items bought already " + ("removed" if config.exclude_seen else "kept")


def _on_users(summary: Mapping[str, Any]) -> str:
    """What to say where only some of the split's users were measured."""
    asked, measured = summary.get("users of the split"), summary["users"]
    return "" if asked in (None, measured) else f"{measured:,} of {asked:,} users"


def _has_language_model(config: EvaluationConfig) -> bool:
    """Whether generated titles had a part in the lists, alone or among other rankers."""
    return not config.ranker and OURS in (config.rankers or (OURS,))


def _segment(document: Mapping[str, Any]) -> Segment:
    metrics = document["metrics"]
    return Segment(
        users=document["users"],
        values={metric: each["mean"] for metric, each in metrics.items()},
        intervals={metric: (each["low"], each["high"]) for metric, each in metrics.items()},
    )


def _beyond(document: Mapping[str, Any]) -> BeyondAccuracy | None:
    """None for an evaluation without these figures."""
    if not document:
        return None
    lists = dict(document["lists"])
    without_list = lists.pop("users without a list")
    if "titles" not in document:
        return BeyondAccuracy(lists, without_list)
    titles = dict(document["titles"])
    found_nothing = titles.pop("found_nothing")
    beams = tuple(Beam(**each) for each in document["beams"])
    return BeyondAccuracy(lists, without_list, TitleFigures(**titles), found_nothing, beams)


def _segments(opened: _Opened) -> SegmentTable:
    parts = read_figures(opened.artifact)["segments"]
    return SegmentTable(opened.row.label, {name: _segment(each) for name, each in parts.items()})


def _histories(opened: _Opened, examples: Sequence[Example], metric: str) -> SegmentTable:
    """A metric, and NDCG beside Recall, by the length of the history."""
    whole = opened.evaluation
    lengths = ExampleTable.of(examples).of_users(whole.users).lengths
    wanted = {metric, metric.replace("recall", "ndcg")}
    few = {name: values for name, values in whole.values.items() if name in wanted}
    alone = Evaluation(whole.protocol, whole.users, few)
    return SegmentTable(
        opened.row.label,
        {
            name: _segment(figures(alone.among(mask)))
            for name, mask in history_lengths_of(lengths).items()
        },
    )


def _paired_test(opened: Iterable[_Opened], metric: str) -> PairedTest | None:
    """The best model against the best baseline; None without both, or with different users."""
    by_label = {each.row.label: each for each in opened}
    rows = [each.row for each in by_label.values()]
    ours, baseline = (best_row(rows, kind, metric) for kind in ("ours", "baseline"))
    if ours is None or baseline is None:
        return None
    mine, theirs = (by_label[row.label].evaluation for row in (ours, baseline))
    if mine.users != theirs.users:
        return None
    return PairedTest(ours.label, baseline.label, compare(mine, theirs, metric))
