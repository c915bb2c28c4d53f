"""One report as one self-contained HTML page: no scripts, no network, the same bytes each time.

Titles and names are other people's text: the template escapes everything that it is not told is
markup, and only the pictures of `figures.py` and the style sheet are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from gloss.report import figures
from gloss.report.content import (
    Report,
    Row,
    Sample,
    Segment,
    SegmentTable,
    Suggestion,
    best_row,
    is_comparable,
    main_metric,
    metric_label,
    recall_metrics,
)
from gloss.report.headline import headline, remarks
from gloss.report.published import published_source
from gloss.report.tables import Table, cutoff_table, headline_table

__all__ = ["Report", "Row", "Sample", "Segment", "SegmentTable", "Suggestion", "render_report"]

_HISTORY_SHOWN = 8
_WIDE, _NARROW = 400, 290
"""Widths of pictures in CSS pixels: two and three of them in a row on a desk."""


@dataclass(frozen=True, slots=True)
class _Picture:
    heading: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class _Lengths:
    """Recall against list length: the picture, and the table that is also its key."""

    svg: Markup
    table: Table
    keys: tuple[Markup, ...]


def render_report(report: Report) -> str:
    """The page as text, to be written as UTF-8.

    Raises UsageError when no row of this run has a value.
    """
    text = (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            css=Markup(_template("page.css")),
            headline=headline(report),
            remarks=remarks(report),
            table=headline_table(report),
            metric=metric_label(main_metric(report.rows)),
            comparable=is_comparable(report),
            source=published_source(),
            bars=_bars(report),
            segments=_segments(report),
            lengths=_lengths(report),
            shown=_HISTORY_SHOWN,
        )
    )
    # A lone surrogate in somebody's title cannot be written as UTF-8.
    return text.encode("utf-8", "replace").decode("utf-8")


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


def _drawn(report: Report) -> tuple[Row, ...]:
    """The rows that pictures show: all of this run, and the best of the published ones."""
    best = best_row(report.rows, "published", main_metric(report.rows))
    return tuple(row for row in report.rows if row.kind != "published" or row is best)


def _bars(report: Report) -> tuple[_Picture, ...]:
    """Recall and NDCG at the main cutoff."""
    rows = _drawn(report)
    main = main_metric(rows)
    metrics = (main, main.replace("recall", "ndcg")) if "recall" in main else (main,)
    return tuple(
        _bar_picture(rows, metric, f"bars-{place}", metric_label(metric), _top(rows, metric), _WIDE)
        for place, metric in enumerate(metrics)
        if any(metric in row.values for row in rows)
    )


def _segments(report: Report) -> tuple[_Picture, ...]:
    """The main metric by segment, one picture a segment, all to one scale."""
    metric = main_metric(report.rows)
    by_segment = _rows_by_segment(report)
    top = max((_top(rows, metric) for rows in by_segment.values()), default=0)
    return tuple(
        _bar_picture(rows, metric, f"segment-{place}", _segment_heading(name, rows), top, _NARROW)
        for place, (name, rows) in enumerate(by_segment.items())
    )


def _rows_by_segment(report: Report) -> dict[str, list[Row]]:
    """For each segment the drawn models' rows in it, in the order of the report's rows."""
    metric = main_metric(report.rows)
    tables: Mapping[str, SegmentTable] = {table.model: table for table in report.segments}
    found: dict[str, list[Row]] = {}
    for row in _drawn(report):
        parts = tables[row.model].segments if row.model in tables else {}
        for name, part in parts.items():
            if metric in part.values:
                values = Row(row.model, part.values, {}, part.users, row.kind)
                found.setdefault(name, []).append(values)
    return found


def _segment_heading(name: str, rows: Sequence[Row]) -> str:
    ours = next((row for row in rows if row.kind != "published"), rows[0])
    return f"{name[:1].upper()}{name[1:]}: {ours.users:,} users"


def _bar_picture(
    rows: Sequence[Row], metric: str, name: str, heading: str, top: float, width: float
) -> _Picture:
    spoken = heading if heading == metric_label(metric) else f"{metric_label(metric)}, {heading}"
    svg = figures.bars(rows, metric, name=name, heading=spoken, top=top, width=width)
    return _Picture(heading, Markup(svg))


def _lengths(report: Report) -> _Lengths | None:
    """None unless a row of this run has Recall at two lengths at least."""
    rows = [
        row for row in report.rows if row.kind != "published" and len(recall_metrics([row])) > 1
    ]
    if not rows:
        return None
    svg = figures.curves(rows, name="lengths", heading="Recall against the length of the list")
    keys = tuple(
        Markup(figures.key_of(rows, place, name=f"key-{place}")) for place in range(len(rows))
    )
    return _Lengths(Markup(svg), cutoff_table(rows), keys)


def _top(rows: Sequence[Row], metric: str) -> float:
    """The highest value or end of an interval, which a bar's full width stands for."""
    ends = [row.intervals.get(metric, (0.0, 0.0))[1] for row in rows]
    return max(*ends, *(row.values.get(metric, 0.0) for row in rows))
