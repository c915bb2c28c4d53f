"""Conditions on rows: a SQL expression over columns, such as "event_type = 'purchase'".

Columns of text files are typed by what they spell: a column whose values are all numbers compares
as numbers. Polars evaluates the expression.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl
from polars.exceptions import PolarsError

from gloss.data.readers.lines import on_one_line
from gloss.errors import ConfigError

__all__ = ["condition_columns", "rows_where", "typed"]

# Words of SQL that are columns' names in many a log, where they are compared: not in texts.
_KEYWORD = re.compile(
    r"""('[^']*'|"[^"]*")|\b(user|group|order|from|end|interval|values)\b"""
    r"""(?=\s*(?:[=<>!]|IS\b|IN\b|NOT\b|LIKE\b|BETWEEN\b))""",
    re.IGNORECASE,
)
_TRUTHS = {"true": True, "false": False}


def condition_columns(where: str | None) -> tuple[str, ...]:
    """The columns that a condition names; ConfigError if it is no SQL expression."""
    if where is None:
        return ()
    return tuple(dict.fromkeys(_parsed(where).meta.root_names()))


def rows_where(
    frame: pl.LazyFrame, where: str, *, spelled: bool, decimal: str = "."
) -> pl.LazyFrame:
    """The rows for which a condition is true; unknown (NULL) is not true.

    spelled: whether the columns are text, to be typed first. Dates compare with texts such as
    '2017-07-14'. Raises ConfigError when the condition does not fit the columns.
    """
    columns = condition_columns(where)
    kinds = [typed(frame, columns, decimal=decimal)] if spelled else []
    failures = []
    for types in [*kinds, {}, _dates_as_text(frame, columns)]:
        condition = _parsed(where).alias("__keep")
        test = frame.with_columns(expression.alias(f"{name}") for name, expression in types.items())
        try:
            dtype = test.select(condition).collect_schema()["__keep"]
            test.select(condition).head(1000).collect(engine="streaming")
        except PolarsError as error:
            failures.append(on_one_line(error))
            continue
        if dtype != pl.Boolean:
            raise ConfigError(
                f"--where {where!r} is neither true nor false of a row: it is {dtype}"
            )
        return _kept(frame, types, where)
    raise ConfigError(f"--where {where!r} does not fit the columns: {failures[0]}")


def _dates_as_text(frame: pl.LazyFrame, columns: Sequence[str]) -> dict[str, pl.Expr]:
    schema = frame.collect_schema()
    dates = [name for name in columns if schema[name].is_temporal()]
    return {name: pl.col(name).cast(pl.String) for name in dates}


def _kept(frame: pl.LazyFrame, types: dict[str, pl.Expr], where: str) -> pl.LazyFrame:
    """Filter by typed columns, and keep them as they were."""
    saved = frame.with_columns(pl.col(name).alias(f"__as_read {name}") for name in types)
    filtered = saved.with_columns(types.values()).filter(_parsed(where))
    back = filtered.with_columns(pl.col(f"__as_read {name}").alias(name) for name in types)
    return back.drop(f"__as_read {name}" for name in types)


def typed(frame: pl.LazyFrame, columns: Sequence[str], *, decimal: str = ".") -> dict[str, pl.Expr]:
    """For columns of text, the expressions that give them the types that all their values spell."""
    text = [name for name in columns if frame.collect_schema()[name] == pl.String]
    if not text:
        return {}
    counts = frame.select(each for name in text for each in _counts(name, decimal)).collect(
        engine="streaming"
    )
    return {
        name: _as(name, {key: counts[f"{name} {key}"][0] for key in _KEYS}, decimal)
        for name in text
    }


_KEYS = ("all", "whole", "real", "truth", "padded")


def _stripped(name: str, decimal: str) -> pl.Expr:
    text = pl.col(name).str.strip_chars()
    known: pl.Expr = pl.when(text != "").then(text)
    return known.str.replace(r"^(-?\d+),(\d+)$", "$1.$2") if decimal == "," else known


def _counts(name: str, decimal: str) -> list[pl.Expr]:
    text = _stripped(name, decimal)
    real = text.cast(pl.Float64, strict=False)
    return [
        text.count().alias(f"{name} all"),
        text.cast(pl.Int64, strict=False).count().alias(f"{name} whole"),
        pl.when(real.is_finite()).then(real).count().alias(f"{name} real"),
        text.str.to_lowercase().is_in(list(_TRUTHS)).sum().alias(f"{name} truth"),
        text.str.contains(r"^0\d").sum().alias(f"{name} padded"),
    ]


def _as(name: str, counts: dict[str, int], decimal: str) -> pl.Expr:
    text = _stripped(name, decimal)
    if counts["all"] == 0 or counts["padded"]:
        return text.alias(name)
    if counts["whole"] == counts["all"]:
        return text.cast(pl.Int64, strict=False).alias(name)
    if counts["real"] == counts["all"]:
        return text.cast(pl.Float64, strict=False).alias(name)
    if counts["truth"] == counts["all"]:
        return (text.str.to_lowercase() == "true").alias(name)
    return pl.col(name)


def _parsed(where: str) -> pl.Expr:
    quoted = _KEYWORD.sub(lambda found: found[1] or f'"{found[2]}"', where)
    try:
        return pl.sql_expr(quoted)
    except PolarsError as error:
        raise ConfigError(
            f"--where {where!r} is not a SQL expression ({on_one_line(error)}): write it such as "
            "\"event_type = 'purchase' AND quantity > 0\""
        ) from None
