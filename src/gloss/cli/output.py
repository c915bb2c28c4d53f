"""What commands print: results on standard output, progress and errors on standard error.

Text of others (titles, ids, paths) goes through `_shown`, so that it is neither markup nor an
escape sequence of the terminal.
"""

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

from gloss.cli.main import end_waits_on_interrupt
from gloss.errors import escaped_for_json, on_one_line
from gloss.progress import Progress

if TYPE_CHECKING:
    from gloss.artifacts import Artifact
    from gloss.evaluation.significance import Comparison
    from gloss.experiment.seeds import Spread
    from gloss.recommender.comparing import BundleComparison
    from gloss.recommender.recommender import Recommendation, Recommendations
    from gloss.report.content import Report, Row

__all__ = [
    "announce",
    "err",
    "note",
    "out",
    "print_beyond",
    "print_bundle",
    "print_bundle_comparison",
    "print_cold_items",
    "print_comparisons",
    "print_evaluations",
    "print_figures",
    "print_json",
    "print_line",
    "print_made",
    "print_recommendations",
    "print_report",
    "print_samples",
    "print_spreads",
    "print_summary",
    "print_values",
]

out = Console()
err = Console(stderr=True)

_SECONDS_BETWEEN_LINES = 10.0
_TITLES_SHOWN = 8
_METRICS_SHOWN = ("recall@5", "ndcg@5", "recall@10", "ndcg@10")


@contextmanager
def announce(stage: str) -> Iterator[Progress]:
    """Show a stage: a bar on a terminal, elsewhere a line every ten seconds."""
    end_waits_on_interrupt()
    started = time.monotonic()
    with _bar(stage) if err.is_terminal else _lines(stage) as progress:
        yield progress
    err.print(f"{stage:<10} [dim]{_clock(time.monotonic() - started)}[/dim]", highlight=False)


def print_json(value: Any) -> None:
    """One JSON document for machines; what a terminal would obey stands in it as escapes."""
    lines = json.dumps(value, ensure_ascii=False, indent=1).split("\n")
    sys.stdout.write("".join(escaped_for_json(line) + "\n" for line in lines))


def print_made(made: Artifact, *, json: bool) -> None:
    """What a stage has made: its summary, for people or for machines."""
    print_values(str(made.path), made.summary, json=json)


def print_bundle(made: Artifact, *, json: bool) -> None:
    """A bundle that was made: how many items it has, and by which parts it answers."""
    from gloss.recommender.bundle import BundleConfig

    config = BundleConfig.of(made)
    parts = [part.name for part in config.rankers]
    parts = ["language model", *parts] if config.model else parts
    facts = {**made.summary, "parts": parts, "fingerprint": made.fingerprint}
    if json:
        print_json({"bundle": str(made.path), **facts})
        return
    print_line(f"{made.path}: {made.summary['items']:,} items, by {', '.join(parts)}")


def print_values(title: str, values: Mapping[str, Any], *, json: bool) -> None:
    """Named values, for people or for machines."""
    if json:
        print_json(values)
    else:
        print_summary(title, values)


def print_line(text: str, *, style: str = "") -> None:
    """One line, not wrapped, without markup."""
    out.print(on_one_line(text), style=style, markup=False, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """One line beside the results, on standard error."""
    err.print(on_one_line(text), markup=False, highlight=False, soft_wrap=True)


def print_summary(title: str, values: Mapping[str, Any]) -> None:
    """Names and values in two columns under a title, which is not wrapped (a path, say)."""
    print_line(title, style="italic")
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for name, value in values.items():
        table.add_row(_shown(name), _text(value))
    out.print(table)


def print_report(report: Report) -> None:
    """The headline table of a report."""
    print_line(f"{report.dataset}, {report.protocol}, {report.split} split", style="italic")
    _print_means({_label(row): row.values for row in report.rows})


def print_evaluations(means: Mapping[str, Mapping[str, float]]) -> None:
    """What lists are worth, by their names: means over users."""
    _print_means({_shown(name): values for name, values in means.items()})


def _print_means(rows: Mapping[str, Mapping[str, float]]) -> None:
    """A row of figures for each label."""
    measured = dict.fromkeys(metric for values in rows.values() for metric in values)
    metrics = [metric for metric in measured if metric in _METRICS_SHOWN] or list(measured)[:4]
    table = Table()
    table.add_column("")
    for metric in metrics:
        table.add_column(_shown(metric), justify="right", no_wrap=True)
    for label, values in rows.items():
        table.add_row(label, *(_figure(values.get(metric)) for metric in metrics))
    out.print(table)


def print_spreads(spreads: Sequence[Spread]) -> None:
    """How much a metric differs from seed to seed, list by list."""
    from gloss.report.content import metric_label

    print_line(f"{metric_label(spreads[0].metric)} by seed", style="italic")
    table = _figures_table("", "mean", "deviation", "seeds")
    for each in spreads:
        values = " ".join(map(_figure, each.values))
        table.add_row(_shown(each.name), _figure(each.mean), _figure(each.deviation), values)
    out.print(table)


def print_cold_items(figures: Mapping[str, Any]) -> None:
    """Items that came after all training (evaluation/cold_items.py): how they are found, and what
    they cost the other answers."""
    cold, others = figures["cold"], figures["others"]
    metrics = [name for name in _METRICS_SHOWN if name in next(iter(cold.values()))["metrics"]]
    users = next(iter(cold.values()))["users"]
    print_line(f"new items: {users:,} users who bought one of them next", style="italic")
    table = _figures_table("", *metrics, "fused, more", "p")
    for name, each in cold.items():
        cells = (_figure(each["metrics"][metric]["mean"]) for metric in metrics)
        table.add_row(_shown(name), *cells, *_more(each.get("fused", {}), metrics[0]))
    out.print(table)
    users, metric = next(iter(others.values()))["after"]["users"], metrics[0]
    print_line(f"other answers: {users:,} users, {metric} before and after", style="italic")
    table = _figures_table("", "before", "after", "difference", "95 %", "p")
    for name, each in others.items():
        found = each["difference"][metric]
        interval = _interval(found["low"], found["high"])
        difference = (f"{found['difference']:+.4f}", interval, f"{found['p_value']:.4f}")
        means = map(_figure, (found["second"], found["first"]))
        table.add_row(_shown(name), *means, *difference)
    out.print(table)


def _more(compared: Mapping[str, Mapping[str, float]], metric: str) -> tuple[str, str]:
    """What a fused list has more than another, and the p-value."""
    found = compared.get(metric)
    return (f"{found['difference']:+.4f}", f"{found['p_value']:.4f}") if found else ("", "")


def _interval(low: float, high: float) -> str:
    return f"{low:+.4f} to {high:+.4f}"


def _figures_table(first: str, *figures: str) -> Table:
    """A table without lines: names in the first column, figures in the others."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(first, no_wrap=True)
    for figure in figures:
        table.add_column(figure, justify="right", no_wrap=True)
    return table


def note_left_out(summary: Mapping[str, Any], names: Sequence[str]) -> None:
    """What a data set lacks of the log that it was made from, in one line beside the results."""
    left_out = [f"{name}: {summary[name]:,}" for name in names if summary.get(name)]
    if left_out:
        note(f"left out or changed by prepare: {'; '.join(left_out)}")


def print_samples(report: Report) -> None:
    """The sampled users of a report: what they bought, what is recommended, and why."""
    for sample in report.samples:
        bought = "\n".join(f"  {_shown(title)}" for title in sample.history[-_TITLES_SHOWN:])
        out.print(f"[bold]{_shown(sample.user)}[/bold] bought, latest last:\n{bought}")
        table = Table(box=None, padding=(0, 2))
        table.add_column("recommended")
        table.add_column("the model wrote", style="dim")
        for item in sample.recommendations:
            mark = " [green](bought next)[/green]" if item.is_target else ""
            table.add_row(_shown(item.title) + mark, _reason(item.why, item.because))
        out.print(table)
        out.print(f"  Bought next: {_shown(sample.target)}\n")


def print_recommendations(answer: Recommendations) -> None:
    """A list of items with their reasons, how it was made, and what was not understood."""
    table = Table(box=None, padding=(0, 2))
    for name in ("", "title", "because", "item"):
        table.add_column(name)
    for rank, item in enumerate(answer.items, 1):
        table.add_row(str(rank), _shown(item.title), _because(item), _shown(item.item))
    out.print(table)
    print_line(_WAYS[answer.way], style="italic")
    for text, near in zip(answer.unknown, answer.nearest, strict=True):
        print_line(f"{text!r} is not a title of the catalogue: {_read_as(answer.way)}{_hint(near)}")


def _read_as(way: str) -> str:
    if way in ("fused", "language-model"):
        return "read by the language model only"
    return "taken by its words" if way == "similar-titles" else "left out"


def _hint(near: str | None) -> str:
    return f"; did you mean {near!r}?" if near else ""


_WAYS = {
    "fused": "by the language model and the other rankers",
    "language-model": "by the language model",
    "rankers": "by the rankers",
    "similar-titles": "by titles like these, as the catalogue knows none of the purchases",
    "wish": "by the wish alone, as no purchase is known",
    "popular": "by what is bought most, as no purchase is known",
}


def _because(item: Recommendation) -> str:
    if item.reason == "popular":
        return "bought often"
    if item.reason == "written":
        return _reason(item.why, None)
    return _reason(None, item.why)


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
        table.add_column(f"{_shown(name)}, {part['users']:,}", justify="right")
    for metric, measured in overall["metrics"].items():
        parts = (_figure(s["metrics"].get(metric, {}).get("mean")) for s in segments.values())
        interval = f"{measured['low']:.4f} to {measured['high']:.4f}"
        table.add_row(_shown(metric), _figure(measured["mean"]), interval, *parts)
    out.print(table)
    print_beyond(figures.get("beyond", {}))


def print_comparisons(first: str, second: str, comparisons: Sequence[Comparison]) -> None:
    """The differences between two evaluations, A and B, metric by metric, and what they say."""
    print_line(f"A  {first}")
    print_line(f"B  {second}")
    print_line(f"{comparisons[0].users:,} users")
    _print_differences(comparisons)


def print_bundle_comparison(first: str, second: str, made: BundleComparison) -> None:
    """The same of two bundles; whom they were asked for, and which answers one cannot know."""
    print_line(f"A  {first}")
    print_line(f"B  {second}")
    print_line(f"{made.users:,} users, by their last purchase, newer than {made.since}")
    if made.first_purchases:
        print_line(f"{made.first_purchases:,} more are left out: it is their first")
    for name, unknown in zip("AB", made.unknown, strict=True):
        if unknown:
            print_line(f"{unknown:,} bought what {name} does not know: {name} misses it")
    _print_differences(made.comparisons)


def _print_differences(comparisons: Sequence[Comparison]) -> None:
    table = _figures_table("metric", "A", "B", "A - B", "95 %", "p", "A wins", "B wins")
    for each in comparisons:
        table.add_row(
            _shown(each.metric),
            _figure(each.first),
            _figure(each.second),
            f"{each.difference:+.4f}",
            _interval(each.low, each.high),
            f"{each.p_value:.4f}",
            *(f"{count:,}" for count in (each.better, each.worse)),
        )
    out.print(table)
    for each in comparisons:
        print_line(f"{each.metric}: {_verdict(each)}")


def _verdict(found: Comparison) -> str:
    """What a comparison says, in words."""
    if found.verdict != "level":
        return f"A is {found.verdict} than B"
    said = f"A and B cannot be told apart with {found.users:,} users"
    if found.needed is None:
        return said
    return f"{said}; if the difference is real, it takes about {found.needed:,} to see it"


def print_beyond(beyond: Mapping[str, Any]) -> None:
    """Beyond accuracy: coverage and novelty of lists, titles, and beams."""
    for part in ("lists", "titles"):
        if part in beyond:
            print_summary(part, {name: _rounded(value) for name, value in beyond[part].items()})
    if "beams" in beyond:
        table = Table()
        for name in ("beam", "wrote", "exact", "hit", "so far", "entries"):
            table.add_column(name, justify="right")
        for beam, *shares in (row.values() for row in beyond["beams"]):
            table.add_row(str(beam), *map(_figure, shares))
        out.print(table)


def _shown(text: str) -> str:
    """Text of others as a cell of a table: without markup and control characters."""
    return escape(on_one_line(text))


def _reason(written: str | None, bought: str | None) -> str:
    """The generated title that led to an item, or the purchase."""
    return _shown(written or (f"because of: {bought}" if bought else ""))


def _rounded(value: float) -> float | str:
    return f"{value:.4f}" if isinstance(value, float) else value


def _label(row: Row) -> str:
    name = _shown(row.label)
    return f"[bold]{name}[/bold]" if row.kind == "ours" else f"[dim]{row.kind}[/dim] {name}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _text(value: Any) -> str:
    """A value of a summary; a mapping on several lines."""
    if isinstance(value, Mapping):
        return "\n".join(f"{_shown(name)}: {_on_a_line(inner)}" for name, inner in value.items())
    return f"{value:,}" if isinstance(value, int) else _shown(str(value))


def _on_a_line(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_shown(name)} {_on_a_line(inner)}" for name, inner in value.items())
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
            bars.update(task, completed=done, total=total, note=_shown(note))

        yield show


@contextmanager
def _lines(stage: str) -> Iterator[Progress]:
    last = time.monotonic()
    # What an earlier, interrupted run has done says nothing about the speed of this one.
    first: tuple[int, float] | None = None

    def show(done: int, total: int | None, note: str = "") -> None:
        nonlocal last, first
        now = time.monotonic()
        first = first or (done, now)
        if now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            of = f" of {total:,}" if total is not None else ""
            left = _left(done - first[0], now - first[1], (total or done) - done)
            line = f"{stage:<10} {done:,}{of}  {_shown(note)}{left}"
            err.print(line, highlight=False, soft_wrap=True)

    yield show


def _left(done: int, seconds: float, to_do: int) -> str:
    """About how long the rest will take; empty while that cannot be known."""
    return f", about {_clock(to_do * seconds / done)} left" if done and to_do else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f} min {rest:.0f} s" if minutes else f"{rest:.1f} s"
