"""The report's tables for papers and spreadsheets: as values, then as CSV or LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gloss.report.content import Report, Row, cutoff_of, main_metric, metric_label, metrics_of
from gloss.report.tables import metrics_with_room

__all__ = ["Sheet", "Value", "sheets_of", "to_csv", "to_latex"]

Value = str | int | float | None


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table of values.

    name: of its file. caption: what it shows. keys: how many columns, from the left, identify a
    row. unprinted: columns that LaTeX leaves out, for want of room.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    keys: int = 6
    unprinted: frozenset[str] = frozenset()


_KEYS = ("data set", "protocol", "split", "model", "kind", "retriever")
_MODEL = _KEYS.index("model")


def sheets_of(reports: Sequence[Report]) -> tuple[Sheet, ...]:
    """The tables of the reports that have a row.

    Overall, models by retriever, by segment, by history, by list length, lists, titles, beams.
    """
    found = (
        _overall(reports),
        _grid(reports),
        _parts(reports, "segments", "by number of purchases"),
        _parts(reports, "histories", "by the length of the history"),
        _lengths(reports),
        _lists(reports),
        _titles(reports),
        _beams(reports),
    )
    return tuple(sheet for sheet in found if sheet.rows)


def to_csv(sheet: Sheet) -> str:
    """The sheet as CSV with a header; unknown values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(sheet.columns)
    writer.writerows([_spreadsheet(value) for value in row] for row in sheet.rows)
    return text.getvalue()


def to_latex(sheet: Sheet) -> str:
    """The sheet as a `table` with the rules of the package booktabs.

    A key with one value in all rows moves from its column to the caption.
    """
    columns = range(len(sheet.columns))
    shared = [n for n in columns[: sheet.keys] if n != _MODEL and _is_shared(sheet, n)]
    kept = [n for n in columns if n not in shared and sheet.columns[n] not in sheet.unprinted]
    constant = ", ".join(_latex(sheet.rows[0][n]) for n in shared if sheet.rows[0][n])
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(sheet.caption)}{f' ({constant})' if constant else ''}.}}",
        rf"\begin{{tabular}}{{{''.join('l' if n < sheet.keys else 'r' for n in kept)}}}",
        r"\toprule",
        " & ".join(_latex(sheet.columns[n]) for n in kept) + r" \\",
        r"\midrule",
        *(" & ".join(_latex(row[n]) for n in kept) + r" \\" for row in sheet.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _is_shared(sheet: Sheet, column: int) -> bool:
    return len({row[column] for row in sheet.rows}) == 1


def _rows(reports: Sequence[Report]) -> Iterator[tuple[Report, Row, tuple[Value, ...]]]:
    """Every row with its report and the values of `_KEYS`."""
    for report in reports:
        for row in report.rows:
            about = (report.dataset, report.protocol, report.split)
            yield report, row, (*about, row.model, row.kind, row.retriever)


def _overall(reports: Sequence[Report]) -> Sheet:
    metrics = metrics_of(row for _, row, _ in _rows(reports))
    ends = [(metric, end) for metric in metrics for end in ("", " low", " high")]
    printed = {(metric, "") for metric in metrics_with_room(metrics, _main(reports))}
    return Sheet(
        "overall",
        "All users, with 95 % intervals",
        (*_KEYS, "users", *(f"{metric_label(metric)}{end}" for metric, end in ends)),
        tuple(
            (*keys, row.users, *(_end(row, metric, end) for metric, end in ends))
            for _, row, keys in _rows(reports)
        ),
        unprinted=frozenset(
            f"{metric_label(m)}{end}" for m, end in ends if (m, end) not in printed
        ),
    )


def _grid(reports: Sequence[Report]) -> Sheet:
    """A row for each model, the main metric and its NDCG for each retriever."""
    metrics = _with_ndcg(_main(reports))
    lines: dict[tuple[Value, ...], dict[str, Row]] = {}
    for _, row, keys in _rows(reports):
        lines.setdefault(keys[:-1], {})[row.retriever] = row
    retrievers = dict.fromkeys(name for rows in lines.values() for name in rows)
    return Sheet(
        "model-by-retriever",
        "Models by what their titles are searched with",
        (
            *_KEYS[:-1],
            *(f"{name} {metric_label(m)}".strip() for name in retrievers for m in metrics),
        ),
        tuple(
            (
                *keys,
                *(
                    rows[name].values.get(m) if name in rows else None
                    for name in retrievers
                    for m in metrics
                ),
            )
            for keys, rows in lines.items()
        ),
        keys=len(_KEYS) - 1,
    )


def _main(reports: Sequence[Report]) -> str:
    return main_metric(row for report in reports for row in report.rows)


def _with_ndcg(metric: str) -> list[str]:
    """A Recall metric and the NDCG of its cutoff; another metric alone."""
    return list(dict.fromkeys((metric, metric.replace("recall", "ndcg"))))


def _end(row: Row, metric: str, end: str) -> Value:
    if not end:
        return row.values.get(metric)
    low_high = row.intervals.get(metric)
    return low_high[end == " high"] if low_high else None


def _parts(reports: Sequence[Report], name: str, what: str) -> Sheet:
    """A row for each model and group of users, with the main metric and its NDCG."""
    metrics = _with_ndcg(_main(reports))
    return Sheet(
        name,
        f"{metric_label(metrics[0])} {what}",
        (*_KEYS, "part", "users", *map(metric_label, metrics)),
        tuple(
            (*keys, part, each.users, *(each.values.get(metric) for metric in metrics))
            for report, row, keys in _rows(reports)
            for table in getattr(report, name)
            if table.model == row.label
            for part, each in table.segments.items()
        ),
        keys=len(_KEYS) + 1,
    )


def _lengths(reports: Sequence[Report]) -> Sheet:
    """A row for each model and list length."""
    rows = [
        (*keys, cutoff, *(row.values.get(f"{family}@{cutoff}") for family in ("recall", "ndcg")))
        for _, row, keys in _rows(reports)
        for cutoff in sorted({cutoff_of(metric) or 0 for metric in row.values} - {0})
    ]
    caption = "Recall and NDCG by the length of the list"
    return Sheet("list-lengths", caption, (*_KEYS, "length", "Recall", "NDCG"), tuple(rows))


def _lists(reports: Sequence[Report]) -> Sheet:
    found = [(keys, row.beyond) for _, row, keys in _rows(reports) if row.beyond]
    names = list(dict.fromkeys(name for _, beyond in found for name in beyond.lists))
    return Sheet(
        "lists",
        "Coverage of the catalogue, novelty in bits, and users without a list",
        (*_KEYS, *names, "without a list"),
        tuple(
            (*keys, *(beyond.lists.get(name) for name in names), beyond.without_list)
            for keys, beyond in found
        ),
    )


def _titles(reports: Sequence[Report]) -> Sheet:
    return Sheet(
        "titles",
        "Generated titles",
        (*_KEYS, "titles", "in catalogue", "repeated", "distinct a user", "found nothing"),
        tuple(
            (
                *keys,
                titles.titles,
                titles.in_catalogue,
                titles.repeated,
                titles.per_user,
                row.beyond.found_nothing,
            )
            for _, row, keys in _rows(reports)
            if row.beyond and (titles := row.beyond.titles)
        ),
    )


def _beams(reports: Sequence[Report]) -> Sheet:
    return Sheet(
        "beams",
        "Beams: share of users with a title, with exactly the next item's title, with a hit; hits "
        "of the beams so far; share of list entries",
        (*_KEYS, "beam", "wrote", "exact", "hit", "so far", "entries"),
        tuple(
            (*keys, b.beam + 1, b.wrote, b.exact, b.hit, b.so_far, b.entries)
            for _, row, keys in _rows(reports)
            if row.beyond
            for b in row.beyond.beams
        ),
    )


def _spreadsheet(value: Value) -> Value:
    """Floats with six digits; a quote before text that a spreadsheet would run as a formula."""
    if isinstance(value, float):
        return f"{value:.6f}"
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value


_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "≤": r"$\leq$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def _latex(value: Value) -> str:
    if value is None:
        return "--"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, int):
        return f"{value:,}"
    line = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    text = re.sub(r"[\\~^–≤&%$#_{}]", lambda match: _SPECIAL[match[0]], line)
    # After the \\\\ of the row before, LaTeX would take * and [ for arguments of it.
    return f"{{}}{text}" if text.startswith(("*", "[")) else text
