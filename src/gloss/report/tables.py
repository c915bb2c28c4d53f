"""The report's tables as text in cells, the best marked, for the template. Knows no HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gloss.report.content import (
    BeyondAccuracy,
    Kind,
    Report,
    Row,
    SegmentTable,
    cutoff_of,
    is_comparable,
    main_metric,
    metric_label,
    metrics_of,
    recall_metrics,
    shown_rows,
)

__all__ = [
    "Cell",
    "Group",
    "Line",
    "Table",
    "beam_table",
    "cutoff_table",
    "grid_table",
    "headline_table",
    "history_table",
    "list_table",
    "metrics_with_room",
]

_MOST_COLUMNS = 5
_CAPTIONS: dict[Kind, str] = {
    "ours": "Models",
    "baseline": "Baselines",
    "published": "Published, the best",
}
_NO_RETRIEVER = "no search"
_BEAMS_SHOWN = (1, 2, 3, 5, 10, 20, 50)


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as text, and what stands below it, such as its interval."""

    value: str
    below: str = ""
    best: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One model's cells."""

    model: str
    note: str
    users: str
    cells: tuple[Cell, ...]
    kind: Kind = "ours"


@dataclass(frozen=True, slots=True)
class Group:
    """Lines under one caption. note: of all of them."""

    kind: Kind
    caption: str
    note: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """columns: labels of the figures. left_out: labels of the metrics that have no room."""

    columns: tuple[str, ...]
    left_out: tuple[str, ...]
    groups: tuple[Group, ...]


def headline_table(report: Report) -> Table:
    """Every row measured here and the best published one, with their main metrics.

    The best of each column is marked, among rows that may be compared.
    """
    shown = shown_rows(report)
    every = metrics_of(shown)
    metrics = metrics_with_room(every, main_metric(report.rows))
    compared = [row for row in _comparable_rows(report) if row in shown]
    best = _best(compared, metrics)
    left_out = [metric_label(metric) for metric in every if metric not in metrics]
    groups = []
    for kind, caption in _CAPTIONS.items():
        rows = [row for row in shown if row.kind == kind]
        lines = tuple(_line(row, metrics, best if row in compared else {}) for row in rows)
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


def grid_table(reports: Sequence[Report]) -> Table | None:
    """Models by retriever, a group for each report, as in the paper's tables.

    A cell holds the main metric, NDCG below it. None with fewer than two retrievers.
    """
    searched = {row.retriever for report in reports for row in report.rows if row.retriever}
    if len(searched) < 2:
        return None
    every = dict.fromkeys(row.retriever for report in reports for row in report.rows)
    columns = (*(name for name in every if name), *([""] if "" in every else []))
    groups = tuple(_grid_group(report, columns) for report in reports)
    return Table(tuple(name or _NO_RETRIEVER for name in columns), (), groups)


def history_table(report: Report) -> Table | None:
    """The main metric by the length of the history."""
    metric = main_metric(report.rows)
    names = _part_names(report.histories)
    if len(names) < 2:
        return None
    lines = tuple(
        Line(
            table.model,
            "",
            "",
            tuple(
                Cell(_number(table.segments[name].values[metric]))
                if name in table.segments
                else Cell("–")
                for name in names
            ),
        )
        for table in report.histories
    )
    return Table(names, (), (Group("ours", "", "", lines),))


def list_table(report: Report) -> Table | None:
    """Coverage and novelty, at the main cutoff and the longest."""
    rows = [row for row in report.rows if row.beyond]
    if not rows:
        return None
    measured = {at for row in rows if row.beyond for m in row.beyond.lists if (at := cutoff_of(m))}
    cutoffs = sorted({cutoff_of(main_metric(report.rows)) or max(measured), max(measured)})
    lines = tuple(_list_line(row, row.beyond, cutoffs) for row in rows if row.beyond)
    names = [f"{name}@{cutoff}" for name in ("Coverage", "Novelty") for cutoff in cutoffs]
    return Table((*names, "Without a list"), (), (Group("ours", "", "", lines),))


def beam_table(report: Report) -> Table | None:
    """Of models that generate titles, the share of users with a hit by the first beams."""
    rows = [row for row in report.rows if row.beyond and row.beyond.beams]
    most = max((len(row.beyond.beams) for row in rows if row.beyond), default=0)
    shown = sorted({count for count in _BEAMS_SHOWN if count < most} | {most})
    lines = tuple(
        Line(row.label, "", "", tuple(_beam_cell(row.beyond, count) for count in shown))
        for row in rows
        if row.beyond
    )
    columns = tuple("the first" if count == 1 else f"first {count}" for count in shown)
    return Table(columns, (), (Group("ours", "", "", lines),)) if rows else None


def _grid_group(report: Report, columns: Sequence[str]) -> Group:
    metric = main_metric(report.rows)
    best = _best(_comparable_rows(report), [metric])
    lines: dict[tuple[Kind, str], dict[str, Row]] = {}
    for kind in _CAPTIONS:
        for row in (row for row in report.rows if row.kind == kind and metric in row.values):
            lines.setdefault((kind, row.model), {})[row.retriever] = row
    comparable = is_comparable(report)
    note = "" if comparable else "published figures are of another protocol, split or set of users"
    has_published = any(kind == "published" for kind, _ in lines)
    return Group(
        "ours",
        f"{report.dataset}, {report.protocol}, {report.split} split",
        note if has_published else "",
        tuple(
            Line(
                model,
                "published" if kind == "published" else "",
                "",
                tuple(
                    _grid_cell(
                        rows.get(name),
                        metric,
                        best if comparable or kind != "published" else {},
                    )
                    for name in columns
                ),
                kind,
            )
            for (kind, model), rows in lines.items()
        ),
    )


def _grid_cell(row: Row | None, metric: str, best: dict[str, str]) -> Cell:
    if row is None:
        return Cell("–")
    second = metric.replace("recall", "ndcg")
    below = _number(row.values[second]) if second != metric and second in row.values else ""
    value = _number(row.values[metric])
    return Cell(value, below, value == best.get(metric))


def _list_line(row: Row, beyond: BeyondAccuracy, cutoffs: Sequence[int]) -> Line:
    coverage = (_share(beyond.lists.get(f"coverage@{cutoff}")) for cutoff in cutoffs)
    novelty = (_bits(beyond.lists.get(f"novelty@{cutoff}")) for cutoff in cutoffs)
    texts = (*coverage, *novelty, f"{beyond.without_list:,}")
    return Line(row.label, "", "", tuple(map(Cell, texts)), row.kind)


def _beam_cell(beyond: BeyondAccuracy, count: int) -> Cell:
    beams = beyond.beams
    return Cell(_number(beams[count - 1].so_far)) if count <= len(beams) else Cell("–")


def _part_names(tables: Sequence[SegmentTable]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for table in tables for name in table.segments))


def _group(kind: Kind, caption: str, lines: tuple[Line, ...]) -> Group:
    """A note that all lines have moves to the group."""
    notes = {line.note for line in lines}
    if len(lines) == 1 or len(notes) > 1:
        return Group(kind, caption, "", lines)
    return Group(kind, caption, notes.pop(), tuple(replace(line, note="") for line in lines))


def metrics_with_room(metrics: Sequence[str], main: str) -> tuple[str, ...]:
    """The metrics that fit into a table.

    Of MRR only the one without a cutoff, if there is one; of the others all if they fit, else those
    at the main cutoff, at the next one, and without a cutoff.
    """
    single = tuple(m for m in metrics if not m.startswith("mrr@") or "mrr" not in metrics)
    if len(single) <= _MOST_COLUMNS:
        return single
    kept = cutoff_of(main)
    longer = sorted({at for metric in single if (at := cutoff_of(metric)) and at > (kept or 0)})
    cutoffs = {kept, None, *longer[:1]}
    return tuple(metric for metric in single if cutoff_of(metric) in cutoffs)


def _comparable_rows(report: Report) -> list[Row]:
    comparable = is_comparable(report)
    return [row for row in report.rows if comparable or row.kind != "published"]


def _best(rows: Sequence[Row], metrics: Sequence[str]) -> dict[str, str]:
    """The highest value of each metric as printed, so that all equal prints are marked."""
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
    return Line(row.label, row.note, f"{row.users:,}", cells, row.kind)


def _cell(row: Row, metric: str, best: dict[str, str], with_intervals: bool) -> Cell:
    if metric not in row.values:
        return Cell("–")
    value = _number(row.values[metric])
    return Cell(value, _interval(row, metric) if with_intervals else "", value == best.get(metric))


def _interval(row: Row, metric: str) -> str:
    if metric not in row.intervals:
        return ""
    low, high = row.intervals[metric]
    return f"{_number(low)}–{_number(high)}"


def _number(value: float) -> str:
    return f"{value:.4f}"


def _share(value: float | None) -> str:
    if value is None:
        return "–"
    return "<0.1\u00a0%" if 0 < value < 0.0005 else f"{100 * value:.1f}\u00a0%"


def _bits(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
