"""What a report shows, as values that a caller fills in. Knows nothing of HTML or pictures.

Metrics are named as in the evaluation: "recall@5", "ndcg@10", "mrr"; values are means over users.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from gloss.errors import UsageError
from gloss.evaluation.beams import Beam
from gloss.evaluation.beyond import TitleFigures
from gloss.evaluation.significance import Comparison

__all__ = [
    "LAST_ITEM",
    "BeyondAccuracy",
    "Kind",
    "PairedTest",
    "Report",
    "Row",
    "Sample",
    "Segment",
    "SegmentTable",
    "Suggestion",
    "best_row",
    "cutoff_of",
    "is_comparable",
    "main_metric",
    "metric_label",
    "metrics_of",
    "recall_metrics",
    "shown_rows",
]

Kind = Literal["ours", "baseline", "published"]

_FAMILIES = ("recall", "ndcg", "mrr")
_LABELS = {"recall": "Recall", "ndcg": "NDCG", "mrr": "MRR"}


LAST_ITEM = "Last-item search"
"""What the baseline is called, ours and the published one."""


@dataclass(frozen=True, slots=True)
class BeyondAccuracy:
    """Figures beyond accuracy.

    lists: means over users ("coverage@5", "novelty@5"). without_list: users with an empty list.
    titles, beams: of generated titles, where a model generates; found_nothing: titles without a
    hit.
    """

    lists: Mapping[str, float]
    without_list: int = 0
    titles: TitleFigures | None = None
    found_nothing: int = 0
    beams: tuple[Beam, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A model's figures.

    intervals: (low, high) at 95 %, for the metrics that have one. note: what a reader must know of
    this row. retriever: how titles are searched, empty where nothing is searched.
    """

    model: str
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    users: int
    kind: Kind
    note: str = ""
    retriever: str = ""
    beyond: BeyondAccuracy | None = None

    @property
    def label(self) -> str:
        """The model with its retriever, which identifies the row among others of its kind."""
        return f"{self.model} + {self.retriever}" if self.retriever else self.model


@dataclass(frozen=True, slots=True)
class Segment:
    """A model's figures on some of the users, with 95 % intervals where they are known."""

    users: int
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SegmentTable:
    """A row's figures by segment. model: the row's label; segments: by name, in display order."""

    model: str
    segments: Mapping[str, Segment]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A recommended title.

    why: the generated title that led to it; because: the title of the purchase that did. None
    where there is none.
    """

    title: str
    why: str | None
    is_target: bool
    because: str | None = None


@dataclass(frozen=True, slots=True)
class PairedTest:
    """The best model against the best baseline, user by user. ours, baseline: labels of rows."""

    ours: str
    baseline: str
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Sample:
    """One person: what they bought, earliest first, what was recommended, what they bought next."""

    user: str
    history: tuple[str, ...]
    recommendations: tuple[Suggestion, ...]
    target: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything about one data set under one protocol.

    protocol: "PAPER" or "FAIR". split: "paper" or "leave-one-out". facts: label to text, in order.
    synthetic: the data are generated, not real. command: what made the report, as it would be
    typed. samples_of: the model whose lists the samples show. histories: figures of measured rows
    by the length of the history, as segments.
    """

    title: str
    dataset: str
    protocol: str
    split: str
    rows: tuple[Row, ...]
    segments: tuple[SegmentTable, ...] = ()
    samples: tuple[Sample, ...] = ()
    facts: Mapping[str, str] | None = None
    synthetic: bool = False
    command: str = ""
    samples_of: str = ""
    histories: tuple[SegmentTable, ...] = ()
    paired_test: PairedTest | None = None


def metrics_of(rows: Iterable[Row]) -> tuple[str, ...]:
    """Every metric that a row has: Recall, NDCG, MRR, others; within each by cutoff."""
    return tuple(sorted({metric for row in rows for metric in row.values}, key=_order))


def recall_metrics(rows: Iterable[Row]) -> tuple[str, ...]:
    """The Recall metrics by rising list length."""
    return tuple(metric for metric in metrics_of(rows) if metric.startswith("recall@"))


def main_metric(rows: Iterable[Row]) -> str:
    """Recall@5 where a row of this run has it, else the first metric of these rows.

    Raises UsageError when there are no rows of this run, or they have no values.
    """
    metrics = metrics_of(row for row in rows if row.kind != "published")
    if not metrics:
        raise UsageError(
            "the report has no figures: give it at least one evaluated model or baseline"
        )
    return "recall@5" if "recall@5" in metrics else metrics[0]


def best_row(rows: Iterable[Row], kind: Kind, metric: str) -> Row | None:
    """The row of a kind with the highest value, the first of equals; None without the metric."""
    having = [row for row in rows if row.kind == kind and metric in row.values]
    return max(having, key=lambda row: row.values[metric], default=None)


def shown_rows(report: Report) -> tuple[Row, ...]:
    """The rows that are compared: all measured here, and the best published one."""
    best = best_row(report.rows, "published", main_metric(report.rows))
    return tuple(row for row in report.rows if row.kind != "published" or row is best)


def is_comparable(report: Report) -> bool:
    """Whether published figures may be compared: PAPER, on the paper's split and users."""
    published = {row.users for row in report.rows if row.kind == "published"}
    measured = {row.users for row in report.rows if row.kind != "published"}
    same_users = len(published | measured) == 1
    return report.protocol.casefold() == report.split.casefold() == "paper" and same_users


def metric_label(metric: str) -> str:
    """
    >>> metric_label("ndcg@10"), metric_label("mrr"), metric_label("coverage")
    ('NDCG@10', 'MRR', 'coverage')
    """
    family, at, cutoff = metric.partition("@")
    return _LABELS.get(family, family) + at + cutoff


def cutoff_of(metric: str) -> int | None:
    """The list length of a metric; None where it has none."""
    _, _, cutoff = metric.partition("@")
    return int(cutoff) if cutoff.isdecimal() else None


def _order(metric: str) -> tuple[int, int, str]:
    family = metric.partition("@")[0]
    rank = _FAMILIES.index(family) if family in _FAMILIES else len(_FAMILIES)
    return rank, cutoff_of(metric) or 0, metric
