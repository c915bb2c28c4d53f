"""How commands speak: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gloss.progress import Progress

if TYPE_CHECKING:
    from gloss.artifacts import Artifact
    from gloss.evaluation.significance import Comparison
    from gloss.recommender import Recommendation
    from gloss.report.content import Report, Row

__all__ = [
    "announce",
    "err",
    "out",
    "print_beyond",
    "print_comparisons",
    "print_figures",
    "print_json",
    "print_line",
    "print_made",
    "print_people",
    "print_recommendations",
    "print_report",
    "print_summary",
    "print_values",
]

out = Console()
err = Console(stderr=True)

_SECONDS_BETWEEN_LINES = 10.0
_HISTORY_SHOWN = 8
_SHOWN = ("recall@5", "ndcg@5", "recall@10", "ndcg@10")


@contextmanager
def announce(stage: str) -> Iterator[Progress]:
    """Show a stage: a bar on a terminal, a line now and then elsewhere."""
    started = time.monotonic()
    shown = _bar(stage) if err.is_terminal else _lines(stage)
    with shown as progress:
        yield progress
    err.print(f"{stage:<10} [dim]{_clock(time.monotonic() - started)}[/dim]", highlight=False)


def print_json(value: Any) -> None:
    """One JSON document for machines."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def print_made(made: Artifact, *, json: bool) -> None:
    """What a stage has made: its summary, for people or for machines."""
    print_values(str(made.path), made.summary, json=json)


def print_values(title: str, values: Mapping[str, Any], *, json: bool) -> None:
    """Named values, for people or for machines."""
    if json:
        print_json(values)
    else:
        print_summary(title, values)


def print_line(text: str, *, style: str = "") -> None:
    """One line as it is: a path in it stays whole, and brackets mean nothing."""
    out.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def print_summary(title: str, values: Mapping[str, Any]) -> None:
    """Names and values in two columns under a title, which may be long (a path) and stays whole."""
    print_line(title, style="italic")
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for name, value in values.items():
        table.add_row(escape(name), escape(_text(value)))
    out.print(table)


def print_report(report: Report) -> None:
    """The headline table of a report."""
    measured = dict.fromkeys(metric for row in report.rows for metric in row.values)
    metrics = [metric for metric in measured if metric in _SHOWN] or list(measured)[:4]
    print_line(f"{report.dataset}, {report.protocol}, {report.split} split", style="italic")
    table = Table()
    table.add_column("")
    for metric in metrics:
        table.add_column(metric, justify="right", no_wrap=True)
    for row in report.rows:
        table.add_row(_label(row), *(_figure(row.values.get(metric)) for metric in metrics))
    out.print(table)


def print_people(report: Report) -> None:
    """The sampled users of a report: what they bought, what is recommended, and why."""
    for sample in report.samples:
        bought = "\n".join(f"  {escape(title)}" for title in sample.history[-_HISTORY_SHOWN:])
        out.print(f"[bold]{escape(sample.user)}[/bold] bought, latest last:\n{bought}")
        table = Table(box=None, padding=(0, 2))
        table.add_column("recommended")
        table.add_column("the model wrote", style="dim")
        for each in sample.recommendations:
            mark = " [green](bought next)[/green]" if each.is_target else ""
            table.add_row(escape(each.title) + mark, escape(_reason(each.why, each.because)))
        out.print(table)
        out.print(f"  Bought next: {escape(sample.target)}\n")


def print_recommendations(found: Sequence[Recommendation]) -> None:
    """A list of items with their reasons."""
    table = Table(box=None, padding=(0, 2))
    for name in ("", "title", "the model wrote", "item"):
        table.add_column(name)
    for place, each in enumerate(found, 1):
        bought = each.reason == "bought"
        reason = _reason(None if bought else each.why, each.why if bought else None)
        table.add_row(str(place), escape(each.title), escape(reason), escape(each.item))
    out.print(table)


def print_figures(title: str, figures: Mapping[str, Any]) -> None:
    """An evaluation: overall with 95 % intervals, then by segment."""
    overall = figures["overall"]
    segments = figures["segments"]
    print_line(f"{title}, {figures['protocol'].upper()}", style="italic")
    table = Table()
    table.add_column("metric")
    table.add_column(f"all {overall['users']:,} users", justify="right")
    table.add_column("95 %", justify="right", style="dim")
    for name, part in segments.items():
        table.add_column(f"{name}, {part['users']:,}", justify="right")
    for metric, each in overall["metrics"].items():
        parts = (_figure(s["metrics"].get(metric, {}).get("mean")) for s in segments.values())
        interval = f"{each['low']:.4f} to {each['high']:.4f}"
        table.add_row(metric, _figure(each["mean"]), interval, *parts)
    out.print(table)
    print_beyond(figures.get("beyond", {}))


def print_comparisons(first: str, second: str, comparisons: Sequence[Comparison]) -> None:
    """What differs between two evaluations, A and B, metric by metric."""
    print_line(f"A  {first}")
    print_line(f"B  {second}")
    print_line(f"{comparisons[0].users:,} users")
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("metric", no_wrap=True)
    for name in ("A", "B", "A - B", "95 %", "p", "A wins", "B wins"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in comparisons:
        table.add_row(
            each.metric,
            _figure(each.first),
            _figure(each.second),
            f"{each.difference:+.4f}",
            f"{each.low:+.4f} to {each.high:+.4f}",
            f"{each.p_value:.4f}",
            *(f"{count:,}" for count in (each.better, each.worse)),
        )
    out.print(table)


def print_beyond(beyond: Mapping[str, Any]) -> None:
    """What lists, titles and beams are like besides."""
    if "lists" in beyond:
        print_summary("lists", {name: _rounded(value) for name, value in beyond["lists"].items()})
    if "titles" in beyond:
        print_summary("titles", {name: _rounded(value) for name, value in beyond["titles"].items()})
    if "beams" in beyond:
        table = Table()
        for name in ("beam", "wrote", "exact", "hit", "so far", "entries"):
            table.add_column(name, justify="right")
        for beam, *shares in (each.values() for each in beyond["beams"]):
            table.add_row(str(beam), *map(_figure, shares))
        out.print(table)


def _reason(written: str | None, bought: str | None) -> str:
    """The title that led to an item, in a column of what the model wrote."""
    return written or (f"because of: {bought}" if bought else "")


def _rounded(value: float) -> float | str:
    return f"{value:.4f}" if isinstance(value, float) else value


def _label(row: Row) -> str:
    name = escape(row.label)
    return f"[bold]{name}[/bold]" if row.kind == "ours" else f"[dim]{row.kind}[/dim] {name}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {_listed(each)}" for name, each in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def _listed(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_listed(each)}" for name, each in value.items())
    return f"{value:.6g}" if isinstance(value, float) else _text(value)


@contextmanager
def _bar(stage: str) -> Iterator[Progress]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bars(*columns, console=err, transient=True) as bars:
        task = bars.add_task(stage, total=None, note="")

        def show(done: int, total: int | None, note: str = "") -> None:
            bars.update(task, completed=done, total=total, note=escape(note))

        yield show


@contextmanager
def _lines(stage: str) -> Iterator[Progress]:
    last = time.monotonic()
    first: tuple[int, float] | None = None  # what an earlier run had done tells nothing of the pace

    def show(done: int, total: int | None, note: str = "") -> None:
        nonlocal last, first
        now = time.monotonic()
        first = first or (done, now)
        if now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            of = f" of {total:,}" if total is not None else ""
            left = _left(done - first[0], now - first[1], (total or done) - done)
            line = f"{stage:<10} {done:,}{of}  {escape(note)}{left}"
            err.print(line, highlight=False, soft_wrap=True)

    yield show


def _left(done: int, seconds: float, to_do: int) -> str:
    """About how long the rest will take; nothing while that cannot be known."""
    return f", about {_clock(to_do * seconds / done)} left" if done and to_do else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f} min {rest:.0f} s" if minutes else f"{rest:.1f} s"
