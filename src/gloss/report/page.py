"""Reports as one self-contained HTML page: no scripts, no network, the same bytes each time.

Titles and names are text of others: the template escapes everything but the pictures of
`figures.py` and the style sheet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from gloss.report import figures
from gloss.report.content import (
    LAST_ITEM,
    BeyondAccuracy,
    PairedTest,
    Report,
    Row,
    Sample,
    Segment,
    SegmentTable,
    Suggestion,
    cutoff_of,
    is_comparable,
    main_metric,
    metric_label,
    recall_metrics,
    shown_rows,
)
from gloss.report.figures import Curve
from gloss.report.headline import headline, remarks
from gloss.report.published import published_source
from gloss.report.tables import (
    Table,
    beam_table,
    cutoff_table,
    grid_table,
    headline_table,
    history_table,
    list_table,
)

__all__ = [
    "BeyondAccuracy",
    "PairedTest",
    "Report",
    "Row",
    "Sample",
    "Segment",
    "SegmentTable",
    "Suggestion",
    "render_reports",
]

_HISTORY_SHOWN = 8
_TICKS_SHOWN = 10
_WIDE, _NARROW = 400, 290
"""Widths of pictures in CSS pixels: on a wide screen two or three stand in a row."""


@dataclass(frozen=True, slots=True)
class _Picture:
    heading: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class _Curves:
    """Curves, and the table of their values, whose rows show the line and marker of each."""

    pictures: tuple[_Picture, ...]
    table: Table
    keys: tuple[Markup, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """What is shown of one report. prefix: of its ids, to make them unique on the page."""

    prefix: str
    report: Report
    headline: str
    remarks: tuple[str, ...]
    table: Table
    metric: str
    comparable: bool
    bars: tuple[_Picture, ...]
    last_item: tuple[_Picture, ...]
    segments: tuple[_Picture, ...]
    lengths: _Curves | None
    histories: _Curves | None
    lists: Table | None
    writers: tuple[Row, ...]
    beams: _Curves | None

    @property
    def name(self) -> str:
        """What identifies this part among the others of a page."""
        return f"{self.report.dataset}, {self.report.protocol}, {self.report.split} split"


def render_reports(reports: Sequence[Report], *, title: str, command: str = "") -> str:
    """One page as text, to be written as UTF-8; several reports have an overview in front.

    Raises UsageError when no row of a report was measured.
    """
    text = (
        _environment()
        .get_template("page.html")
        .render(
            title=title,
            command=command,
            css=Markup(_template("page.css")),
            parts=[_part(report, f"p{place}") for place, report in enumerate(reports, 1)],
            grid=grid_table(reports),
            metric=metric_label(main_metric(row for report in reports for row in report.rows)),
            published=any(row.kind == "published" for each in reports for row in each.rows),
            source=published_source(),
            shown=_HISTORY_SHOWN,
        )
    )
    # A lone surrogate in somebody's title cannot be written as UTF-8.
    return text.encode("utf-8", "replace").decode("utf-8")


def _part(report: Report, prefix: str) -> _Part:
    return _Part(
        prefix=prefix,
        report=report,
        headline=headline(report),
        remarks=remarks(report),
        table=headline_table(report),
        metric=metric_label(main_metric(report.rows)),
        comparable=is_comparable(report),
        bars=_bars(shown_rows(report), f"{prefix}-bars"),
        last_item=_last_item(report, f"{prefix}-last-item"),
        segments=_segments(report, f"{prefix}-segment"),
        lengths=_lengths(report, f"{prefix}-lengths"),
        histories=_histories(report, f"{prefix}-histories"),
        lists=list_table(report),
        writers=tuple(row for row in report.rows if row.beyond and row.beyond.titles),
        beams=_beams(report, f"{prefix}-beams"),
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _template(name: str) -> str:
    return files("gloss.report").joinpath(name).read_text(encoding="utf-8")


def _bars(rows: Sequence[Row], prefix: str) -> tuple[_Picture, ...]:
    """Recall and NDCG at the main cutoff."""
    main = main_metric(rows)
    metrics = (main, main.replace("recall", "ndcg")) if "recall" in main else (main,)
    return tuple(
        _bar_picture(rows, metric, f"{prefix}-{place}", metric_label(metric), _top(rows, metric))
        for place, metric in enumerate(metrics)
        if any(metric in row.values for row in rows)
    )


def _last_item(report: Report, prefix: str) -> tuple[_Picture, ...]:
    """Last-item search by retriever, as measured here and as published."""
    rows = [row for row in report.rows if row.model == LAST_ITEM]
    if len({row.kind for row in rows}) < 2:
        return ()
    named = [
        replace(
            row, model=f"{row.retriever}{', published' * (row.kind == 'published')}", retriever=""
        )
        for row in rows
    ]
    return _bars(named, prefix)


def _segments(report: Report, prefix: str) -> tuple[_Picture, ...]:
    """The main metric by segment, one picture each, all to one scale."""
    metric = main_metric(report.rows)
    by_segment = _rows_by_segment(report)
    top = max((_top(rows, metric) for rows in by_segment.values()), default=0)
    return tuple(
        _bar_picture(rows, metric, f"{prefix}-{place}", _segment_heading(name, rows), top, _NARROW)
        for place, (name, rows) in enumerate(by_segment.items())
    )


def _rows_by_segment(report: Report) -> dict[str, list[Row]]:
    """For each segment the shown models' figures, in the order of the report's rows."""
    metric = main_metric(report.rows)
    tables: Mapping[str, SegmentTable] = {table.model: table for table in report.segments}
    by_segment: dict[str, list[Row]] = {}
    for row in shown_rows(report):
        parts = tables[row.label].segments if row.label in tables else {}
        for name, part in parts.items():
            if metric in part.values:
                figures_there = Row(row.label, part.values, part.intervals, part.users, row.kind)
                by_segment.setdefault(name, []).append(figures_there)
    return by_segment


def _segment_heading(name: str, rows: Sequence[Row]) -> str:
    ours = next((row for row in rows if row.kind != "published"), rows[0])
    return f"{name[:1].upper()}{name[1:]}: {ours.users:,} users"


def _bar_picture(
    rows: Sequence[Row], metric: str, name: str, heading: str, top: float, width: float = _WIDE
) -> _Picture:
    spoken = heading if heading == metric_label(metric) else f"{metric_label(metric)}, {heading}"
    svg = figures.bars(rows, metric, name=name, heading=spoken, top=top, width=width)
    return _Picture(heading, Markup(svg))


def _lengths(report: Report, prefix: str) -> _Curves | None:
    """Recall by list length; None unless a row measured here has it at two lengths or more."""
    rows = [
        row for row in report.rows if row.kind != "published" and len(recall_metrics([row])) > 1
    ]
    metrics = {float(cutoff_of(metric) or 0): metric for metric in recall_metrics(rows)}
    lines = [
        Curve(
            row.label, row.kind, {at: row.values[m] for at, m in metrics.items() if m in row.values}
        )
        for row in rows
    ]
    ticks = {at: f"{at:.0f}" for at in metrics}
    svg = _curves(
        lines,
        ticks,
        prefix,
        heading="Recall against the length of the list",
        along="length of the list",
        spoken="Recall@",
    )
    return _with_table([svg], cutoff_table(rows), lines, prefix) if rows else None


def _histories(report: Report, prefix: str) -> _Curves | None:
    """The main metric, and NDCG for Recall, by the number of items in the history."""
    table = history_table(report)
    if table is None:
        return None
    main = main_metric(report.rows)
    measured = {
        m for each in report.histories for part in each.segments.values() for m in part.values
    }
    metrics = [m for m in dict.fromkeys((main, main.replace("recall", "ndcg"))) if m in measured]
    lines = {metric: _by_history(report, table, metric) for metric in metrics}
    ticks = {float(at): name for at, name in enumerate(table.columns)}
    pictures = [
        _curves(
            lines[metric],
            ticks,
            f"{prefix}-{place}",
            heading=metric_label(metric),
            along="items in the history",
            spoken=f"{metric_label(metric)} with a history of ",
        )
        for place, metric in enumerate(metrics)
    ]
    return _with_table(pictures, table, lines[main], prefix)


def _by_history(report: Report, table: Table, metric: str) -> list[Curve]:
    kinds = {row.label: row.kind for row in report.rows if row.kind != "published"}
    found = []
    for each in report.histories:
        parts = {
            float(at): each.segments[name]
            for at, name in enumerate(table.columns)
            if name in each.segments and metric in each.segments[name].values
        }
        values = {at: part.values[metric] for at, part in parts.items()}
        intervals = {
            at: part.intervals[metric] for at, part in parts.items() if metric in part.intervals
        }
        found.append(Curve(each.model, kinds[each.model], values, intervals))
    return found


def _beams(report: Report, prefix: str) -> _Curves | None:
    """The share of users whose next purchase each beam finds, and the first beams together."""
    rows = [(row, row.beyond.beams) for row in report.rows if row.beyond and row.beyond.beams]
    table = beam_table(report)
    if table is None:
        return None
    alone, together = (
        [
            Curve(row.label, row.kind, {beam.beam + 1.0: getattr(beam, share) for beam in beams})
            for row, beams in rows
        ]
        for share in ("hit", "so_far")
    )
    ticks = _ticks(max(len(beams) for _, beams in rows))
    pictures = [
        _curves(
            alone, ticks, f"{prefix}-each", heading="Users with a hit by this beam", along="beam"
        ),
        _curves(
            together,
            ticks,
            f"{prefix}-together",
            heading="Users with a hit by the first beams",
            along="beams",
        ),
    ]
    return _with_table(pictures, table, alone, prefix)


def _ticks(beams: int) -> dict[float, str]:
    """Labels of beams: each, or every fifth, tenth, … so that they have room."""
    step = next(step for step in (1, 5, 10, 50, beams) if beams <= step * _TICKS_SHOWN)
    return {float(at): str(at) for at in (1, *range(step, beams + 1, step))}


def _curves(
    lines: Sequence[Curve],
    ticks: Mapping[float, str],
    name: str,
    *,
    heading: str,
    along: str,
    spoken: str = "",
) -> _Picture:
    svg = figures.curves(lines, ticks, name=name, heading=heading, along=along, spoken=spoken)
    return _Picture(heading, Markup(svg))


def _with_table(
    pictures: Sequence[_Picture], table: Table, lines: Sequence[Curve], prefix: str
) -> _Curves:
    keys = figures.keys_of(lines, name=f"{prefix}-key")
    return _Curves(tuple(pictures), table, tuple(map(Markup, keys)))


def _top(rows: Sequence[Row], metric: str) -> float:
    """The highest value or interval end: the value of a full bar."""
    ends = [row.intervals.get(metric, (0.0, 0.0))[1] for row in rows]
    return max(*ends, *(row.values.get(metric, 0.0) for row in rows))
