"""The report's tables, shaped for the template: text in cells, the best marked. Knows no HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gloss.report.content import (
    Kind,
    Report,
    Row,
    cutoff_of,
    is_comparable,
    main_metric,
    metric_label,
    metrics_of,
    recall_metrics,
)

__all__ = ["Cell", "Group", "Line", "Table", "cutoff_table", "headline_table"]

_MOST_COLUMNS = 5
_CAPTIONS: dict[Kind, str] = {"ours": "This run", "baseline": "Baselines", "published": "Published"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as text; interval as text, empty where there is none."""

    value: str
    interval: str
    best: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One model's cells."""

    model: str
    note: str
    users: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The lines of one kind. note: what all of them share."""

    kind: Kind
    caption: str
    note: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """columns: labels of the metrics. left_out: labels of the metrics that found no room."""

    columns: tuple[str, ...]
    left_out: tuple[str, ...]
    groups: tuple[Group, ...]


def headline_table(report: Report) -> Table:
    """Every row with its main metrics; each column's best of what may be compared is marked."""
    every = metrics_of(report.rows)
    metrics = _with_room(every, main_metric(report.rows))
    contestants = _contestants(report)
    best = _best(contestants, metrics)
    left_out = [metric_label(metric) for metric in every if metric not in metrics]
    groups = []
    for kind, caption in _CAPTIONS.items():
        rows = [row for row in report.rows if row.kind == kind]
        lines = tuple(_line(row, metrics, best if row in contestants else {}) for row in rows)
        if lines:
            groups.append(_group(kind, caption, lines))
    labels = tuple(metric_label(metric) for metric in metrics)
    return Table(labels, tuple(left_out), tuple(groups))


def cutoff_table(rows: Sequence[Row]) -> Table:
    """Recall of the given rows at every list length."""
    metrics = recall_metrics(rows)
    best = _best(rows, metrics)
    lines = tuple(_line(row, metrics, best, with_intervals=False) for row in rows)
    labels = tuple(f"@{cutoff_of(metric)}" for metric in metrics)
    return Table(labels, (), (Group("ours", "", "", lines),))


def _group(kind: Kind, caption: str, lines: tuple[Line, ...]) -> Group:
    """A note that every line carries is said once, for the group."""
    notes = {line.note for line in lines}
    if len(lines) == 1 or len(notes) > 1:
        return Group(kind, caption, "", lines)
    return Group(kind, caption, notes.pop(), tuple(replace(line, note="") for line in lines))


def _with_room(metrics: Sequence[str], main: str) -> tuple[str, ...]:
    """All metrics if they fit; else those of the main cutoff, of the next one, and without one,
    and of MRR only the last."""
    if len(metrics) <= _MOST_COLUMNS:
        return tuple(metrics)
    kept = cutoff_of(main)
    longer = sorted({at for metric in metrics if (at := cutoff_of(metric)) and at > (kept or 0)})
    cutoffs = {kept, None, *longer[:1]}
    roomy = (metric for metric in metrics if cutoff_of(metric) in cutoffs)
    return tuple(
        metric for metric in roomy if not metric.startswith("mrr@") or "mrr" not in metrics
    )


def _contestants(report: Report) -> list[Row]:
    fair_fight = is_comparable(report)
    return [row for row in report.rows if fair_fight or row.kind != "published"]


def _best(rows: Sequence[Row], metrics: Sequence[str]) -> dict[str, str]:
    """The highest value of each metric as it is printed, so that equal prints are marked alike."""
    best = {}
    for metric in metrics:
        values = [row.values[metric] for row in rows if metric in row.values]
        if values:
            best[metric] = _number(max(values))
    return best


def _line(
    row: Row, metrics: Sequence[str], best: dict[str, str], *, with_intervals: bool = True
) -> Line:
    cells = tuple(_cell(row, metric, best, with_intervals) for metric in metrics)
    return Line(row.model, row.note, f"{row.users:,}", cells)


def _cell(row: Row, metric: str, best: dict[str, str], with_intervals: bool) -> Cell:
    if metric not in row.values:
        return Cell("–", "", False)
    value = _number(row.values[metric])
    return Cell(value, _interval(row, metric) if with_intervals else "", value == best.get(metric))


def _interval(row: Row, metric: str) -> str:
    if metric not in row.intervals:
        return ""
    low, high = row.intervals[metric]
    return f"{_number(low)}–{_number(high)}"


def _number(value: float) -> str:
    return f"{value:.4f}"
