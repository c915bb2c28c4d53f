"""Times in whatever spelling, as numbers that sort: what a column means is understood from all of
its values, said aloud, and refused where it is not one thing.

Numbers stay as they are (seconds, milliseconds, a counter: they sort alike), unless two units are
mixed. Dates become microseconds since 1970; without a zone they count as UTC.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import polars as pl

from gloss.errors import InputError

__all__ = ["TIME", "UNITS", "Clock", "shown_time", "understand_times", "unit_of"]

TIME = "time"
"""The column that is read; in messages it goes by the name that it has in the file."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR = 365.2425 * 86400
_EARLIEST, _LATEST = 20 * _YEAR, 130 * _YEAR
"""A number of seconds in 1990 to 2100 is taken for a time; likewise in smaller units."""

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

_DAYS = ("%d", "%e", "%j", "%s", "%D", "%F", "%c", "%x", "%u", "%v")
_MOST_SPELLINGS = 24
_TRIED_VALUES = 50


@dataclass(frozen=True, slots=True)
class Clock:
    """How a column is read. values: numbers that sort, null where there is no time; understood: in
    words; complaint: why a value that gives null is not a time."""

    values: pl.Expr
    understood: str
    complaint: Callable[[object], str]


def understand_times(
    frame: pl.LazyFrame,
    label: str,
    *,
    format: str | None = None,
    unit: str | None = None,
    place: Callable[[int], str] = lambda row: f"row {row + 1}",
) -> Clock:
    """How the times of a column are to be read. unit: one of UNITS, or "none" for plain numbers.

    `place` names a row (from 0) in messages. Raises InputError when units are mixed, when a date
    could be day-first or month-first.
    """
    kind = frame.collect_schema()[TIME]
    if isinstance(kind, pl.Date | pl.Datetime):
        return _of_dates(label, kind)
    if kind == pl.String and format is not None:
        return _by_format(label, format)
    if kind != pl.String and not kind.is_numeric():
        return Clock(pl.lit(None, pl.Int64), "", lambda value: _neither(label, value))
    numbers = _survey_of_numbers(frame, kind)
    if numbers is not None:
        return _of_numbers(frame, label, numbers, unit=unit, place=place)
    return _by_spelling(frame, label, place)


def unit_of(time: float) -> str | None:
    """The unit in which a number is a time of 1990 to 2100, one of UNITS; None if it is in none.

    >>> unit_of(1_500_000_000), unit_of(1_500_000_000_000), unit_of(7)
    ('s', 'ms', None)
    """
    for unit, parts in UNITS.items():
        if _EARLIEST * parts <= time <= _LATEST * parts:
            return unit
    return None


def shown_time(time: float) -> str:
    """A time for people: as a date where it is one.

    >>> shown_time(1_500_000_000), shown_time(7)
    ('2017-07-14 02:40:00', '7')
    """
    unit = unit_of(time)
    if unit is None:
        return str(time)
    return f"{_EPOCH + timedelta(seconds=int(time) // UNITS[unit]):%Y-%m-%d %H:%M:%S}"


def _neither(label: str, value: object) -> str:
    if re.fullmatch(r"-?\d+,\d+", str(value).strip()):
        return f"{label} is a number with a decimal comma (say --decimal ,): {str(value)!r}"
    return f"{label} is no number and no date that is known (say --time-format): {str(value)!r}"


def _of_dates(label: str, kind: pl.DataType) -> Clock:
    values = pl.col(TIME).cast(pl.Datetime("us", getattr(kind, "time_zone", None)))
    return Clock(
        values.to_physical().cast(pl.Int64), f"{label}: dates", lambda value: _neither(label, value)
    )


def _by_format(label: str, format: str) -> Clock:
    """By what was said; a format without a day means the first of the month."""
    text = pl.col(TIME).str.strip_chars()
    names_day = any(sign in format for sign in _DAYS)
    values = _parsed(text, format) if names_day else _parsed(text + " 01", f"{format} %d")
    return Clock(
        values,
        f"{label}: dates by the format {format}",
        lambda value: f"{label} does not fit the format {format}: {str(value)!r}",
    )


def _parsed(text: pl.Expr, format: str) -> pl.Expr:
    """Microseconds since 1970, null where the text does not fit."""
    when = text.str.strip_chars().str.to_datetime(format, time_unit="us", strict=False)
    return when.to_physical().cast(pl.Int64)


@dataclass(frozen=True, slots=True)
class _Numbers:
    """A column as numbers, and what all of them are like. units: those in which some value is a
    plausible time."""

    values: pl.Expr
    least: float | None
    most: float | None
    units: tuple[str, ...]


def _survey_of_numbers(frame: pl.LazyFrame, kind: pl.DataType) -> _Numbers | None:
    """The column as numbers, whole ones if all are; None if its first value is no number."""
    found, all_are = _survey(frame, pl.col(TIME).cast(pl.Int64, strict=False))
    if all_are and not kind.is_float():
        return found
    text = pl.col(TIME).str.strip_chars() if kind == pl.String else pl.col(TIME)
    whole = text.cast(pl.Int64, strict=False)
    real = text.cast(pl.Float64, strict=False)
    real = pl.when(real.is_finite() & (real.abs() < 2.0**63)).then(real)
    first = frame.select(real.alias("n"), TIME).drop_nulls(TIME).head(1)
    if first.collect(engine="streaming")["n"].null_count():
        return None
    has_fractions = frame.select((real != real.floor()).any()).collect(engine="streaming").item()
    if has_fractions or kind != pl.String:
        return _survey(frame, real)[0]
    return _survey(frame, pl.coalesce(whole, real.cast(pl.Int64, strict=False)))[0]


def _survey(frame: pl.LazyFrame, values: pl.Expr) -> tuple[_Numbers, bool]:
    """What the values are like, and whether every time that is given is one; in one pass."""
    numbers = frame.select(pl.col(TIME).is_not_null().alias("given"), values.alias("n"))
    fits = [_fits(unit).any().alias(unit) for unit in UNITS]
    found = numbers.select(
        pl.col("given").sum(),
        pl.col("n").count().alias("read"),
        pl.col("n").min().alias("least"),
        pl.col("n").max().alias("most"),
        *fits,
    ).collect(engine="streaming")
    given, read, least, most, *plausible = found.row(0)
    units = tuple(unit for unit, is_one in zip(UNITS, plausible, strict=True) if is_one)
    return _Numbers(values, least, most, units), given == read


def _fits(unit: str) -> pl.Expr:
    return pl.col("n").is_between(_EARLIEST * UNITS[unit], _LATEST * UNITS[unit])


def _of_numbers(
    frame: pl.LazyFrame,
    label: str,
    numbers: _Numbers,
    *,
    unit: str | None,
    place: Callable[[int], str],
) -> Clock:
    if unit is None and len(numbers.units) > 1:
        raise InputError(_mixed(frame, label, numbers, place))
    unit = unit or next(iter(numbers.units), "none")
    if unit in UNITS and numbers.least is not None and numbers.most is not None:
        span = f"{_day(numbers.least, unit)} to {_day(numbers.most, unit)}"
        understood = f"{label}: numbers, {_UNIT_NAMES[unit]} since 1970 ({span})"
    else:
        span = f"{numbers.least} to {numbers.most}"
        understood = f"{label}: numbers, taken as they are ({span})"
    return Clock(numbers.values, understood, lambda value: _no_number(label, value))


def _no_number(label: str, value: object) -> str:
    if _spelling_of(str(value).strip()) is not None:
        return f"{label} is a date where the rows before have numbers"
    return _neither(label, value)


def _day(number: float, unit: str) -> str:
    try:
        return str((_EPOCH + timedelta(seconds=number / UNITS[unit])).date())
    except OverflowError:
        return str(number)


def _mixed(frame: pl.LazyFrame, label: str, numbers: _Numbers, place: Callable[[int], str]) -> str:
    rows = frame.select(numbers.values.alias("n")).with_row_index("row")
    kinds = []
    for unit in numbers.units:
        row, number = rows.filter(_fits(unit)).head(1).collect(engine="streaming").row(0)
        kinds.append(f"{place(row)}: {number} would be {_UNIT_NAMES[unit]} ({_day(number, unit)})")
    return (
        f"{label} mixes units, and would sort wrongly: {'; '.join(kinds)}. Write one unit "
        "throughout; or, if they are plain numbers, say --time-unit none"
    )


@dataclass(frozen=True, slots=True)
class _Spelling:
    """A way to write dates. format: for strptime; prepare: what is done to the text before;
    is_ambiguous: whether day and month could be the other way round."""

    format: str
    prepare: Callable[[pl.Expr], pl.Expr] = field(default=lambda text: text)
    day_first: str | None = None

    def values(self) -> pl.Expr:
        return _parsed(self.prepare(pl.col(TIME).str.strip_chars()), self.format)


_TIME = r"(?P<time>(?P<gap>T|:|[, ]+)\d{1,2}:\d{2}(?P<seconds>:\d{2}(?P<fraction>[.,]\d{1,9})?)?)?"
_HALF = r"(?P<half> ?[AaPp][Mm])?"
_ZONE = r"(?P<zone> ?(?:Z\[(?:Etc/)?(?:UTC|GMT)\]|Z|z|UTC|GMT)| ?[+-]\d{2}(?::?\d{2})?)?"
_WEEKDAY = r"(?P<weekday>[A-Za-z]{3,9},? )?"

_YEAR_FIRST = re.compile(rf"\d{{4}}(?P<sep>[-/.])\d{{1,2}}(?P=sep)\d{{1,2}}{_TIME}{_HALF}{_ZONE}")
_YEAR_LAST = re.compile(
    rf"\d{{1,2}}(?P<sep>[-/.])\d{{1,2}}(?P=sep)(?P<year>\d{{4}}|\d{{2}}){_TIME}{_HALF}{_ZONE}"
)
_DAY_NAMED = re.compile(
    rf"{_WEEKDAY}\d{{1,2}}(?P<sep>[-/ ])[A-Za-z]{{3,9}}(?P=sep)(?P<year>\d{{4}}|\d{{2}})"
    rf"{_TIME}{_HALF}{_ZONE}"
)
_MONTH_NAMED = re.compile(
    rf"{_WEEKDAY}(?P<month>[A-Za-z]{{3,9}}) \d{{1,2}}(?P<comma>,?) \d{{4}}{_TIME}{_HALF}{_ZONE}"
)
_C_TIME = re.compile(
    r"[A-Za-z]{3} [A-Za-z]{3} +\d{1,2} \d{2}:\d{2}:\d{2}(?P<zone> (?:UTC|GMT|[+-]\d{4}))? \d{4}"
)
_POSTED = re.compile(r"Posted (?P<date>.+?)\.?")
_COMPACT = re.compile(r"\d{8}T\d{6}(?P<zone>Z|[+-]\d{2}:?\d{2})?")
_MONTH = re.compile(r"\d{4}(?P<sep>[-/.])\d{1,2}")


def _spelling_of(value: str) -> _Spelling | None:
    """How one date is spelled; None if it is no date that is known here."""
    if found := _POSTED.fullmatch(value):
        inner = _spelling_of(found["date"])
        end = "." if value.endswith(".") else ""
        return inner and _Spelling(f"Posted {inner.format}{end}", inner.prepare, inner.day_first)
    if found := _YEAR_FIRST.fullmatch(value):
        sep = found["sep"]
        return _with_time(f"%Y{sep}%m{sep}%d", found)
    if found := _YEAR_LAST.fullmatch(value):
        sep, year = found["sep"], "%Y" if len(found["year"]) == 4 else "%y"
        return _with_time(f"%d{sep}%m{sep}{year}", found, day_first=sep)
    if found := _DAY_NAMED.fullmatch(value):
        sep, year = found["sep"], "%Y" if len(found["year"]) == 4 else "%y"
        return _with_time(f"{_weekday(found)}%d{sep}%B{sep}{year}", found)
    if found := _MONTH_NAMED.fullmatch(value):
        return _with_time(f"{_weekday(found)}%B %d{found['comma']} %Y", found)
    if found := _C_TIME.fullmatch(value):
        return _Spelling(f"%a %B %e %H:%M:%S{_zone(found['zone'])} %Y")
    if found := _COMPACT.fullmatch(value):
        return _Spelling(f"%Y%m%dT%H%M%S{_zone(found['zone'])}")
    if found := _MONTH.fullmatch(value):
        sep = found["sep"]
        return _Spelling(f"%Y{sep}%m{sep}%d", lambda text: text + f"{sep}01")
    return None


def _weekday(found: re.Match[str]) -> str:
    if not found["weekday"]:
        return ""
    return "%A, " if "," in found["weekday"] else "%A "


def _with_time(date: str, found: re.Match[str], *, day_first: str | None = None) -> _Spelling:
    if not found["time"]:
        return _Spelling(date + _zone(found["zone"]), day_first=day_first)
    hour, half = ("%I", found["half"][:-2] + "%p") if found["half"] else ("%H", "")
    clock = (
        f"{hour}:%M" + (":%S" if found["seconds"] else "") + ("%.f" if found["fraction"] else "")
    )
    format = f"{date}{found['gap']}{clock}{half}{_zone(found['zone'])}"
    if "," in (found["fraction"] or ""):
        return _Spelling(format, _with_point, day_first)
    return _Spelling(format, day_first=day_first)


def _with_point(text: pl.Expr) -> pl.Expr:
    return text.str.replace(r"(:\d{2}),(\d)", "$1.$2")


def _zone(text: str | None) -> str:
    """The format of a zone: letters stand for themselves and mean UTC."""
    if not text:
        return ""
    is_offset = text.lstrip()[0] in "+-"
    return text[: len(text) - len(text.lstrip())] + "%#z" if is_offset else text


def _by_spelling(frame: pl.LazyFrame, label: str, place: Callable[[int], str]) -> Clock:
    """Find the spellings one by one: each is that of the first value that no other has read."""
    spellings: list[_Spelling] = []
    example = ""
    while len(spellings) < _MOST_SPELLINGS:
        value, spelling = _next_spelling(frame, label, spellings)
        if spelling is None:
            break
        example = example or value
        if spelling.day_first is not None:
            spelling = _day_or_month_first(frame, label, spelling, place)
        spellings.append(spelling)
    if not spellings:
        return Clock(pl.lit(None, pl.Int64), "", lambda value: _neither(label, value))
    formats = ", ".join(dict.fromkeys(spelling.format for spelling in spellings))
    return Clock(
        _coalesced(label, spellings),
        f"{label}: dates such as {example!r} ({formats}); UTC where no zone is said",
        lambda value: _no_date(label, value),
    )


def _no_date(label: str, value: object) -> str:
    if re.fullmatch(r"[+-]?\d+(\.\d*)?", str(value).strip()):
        return f"{label} is a number where the rows before have dates"
    return _neither(label, value)


def _coalesced(label: str, spellings: Sequence[_Spelling]) -> pl.Expr:
    if not spellings:
        return pl.lit(None, pl.Int64)
    return pl.coalesce(spelling.values() for spelling in spellings)


def _next_spelling(
    frame: pl.LazyFrame, label: str, spellings: Sequence[_Spelling]
) -> tuple[str, _Spelling | None]:
    unread = frame.filter(pl.col(TIME).is_not_null() & _coalesced(label, spellings).is_null())
    values = unread.select(TIME).head(_TRIED_VALUES).collect(engine="streaming")[TIME]
    known = {spelling.format for spelling in spellings}
    for value in values:
        spelling = _spelling_of(value.strip())
        if spelling is None or spelling.format in known:
            continue
        if spelling.day_first is None or not known & {_month_first(spelling).format}:
            return value, spelling
    return "", None


def _month_first(spelling: _Spelling) -> _Spelling:
    day, month = spelling.format.index("%d"), spelling.format.index("%m")
    swapped = list(spelling.format)
    swapped[day + 1], swapped[month + 1] = "m", "d"
    return _Spelling("".join(swapped), spelling.prepare, spelling.day_first)


def _day_or_month_first(
    frame: pl.LazyFrame, label: str, spelling: _Spelling, place: Callable[[int], str]
) -> _Spelling:
    """Day or month first, by the one value that is above 12; with points, the day is first."""
    text = pl.col(TIME).str.strip_chars()
    rows = frame.with_row_index("row").filter(
        spelling.values().is_not_null() | _month_first(spelling).values().is_not_null()
    )
    parts = text.str.extract_groups(r"(\d{1,2})[-/.](\d{1,2})[-/.]").struct
    first, second = parts.field("1").cast(pl.Int32), parts.field("2").cast(pl.Int32)
    day_first = rows.filter(first > 12).select("row", TIME).head(1).collect(engine="streaming")
    month_first = rows.filter(second > 12).select("row", TIME).head(1).collect(engine="streaming")
    if day_first.height and month_first.height:
        there, here = (f"{place(f['row'][0])}: {f[TIME][0]}" for f in (day_first, month_first))
        raise InputError(
            f"{label} has dates with the day first ({there}) and with the month first ({here}): "
            "write them one way"
        )
    if month_first.height:
        return _month_first(spelling)
    if not day_first.height and spelling.day_first != ".":
        example = rows.select(TIME).head(1).collect(engine="streaming")[TIME][0]
        other = _month_first(spelling).format
        raise InputError(
            f"{label}: in dates such as {example!r} the day or the month may come first: say "
            f'--time-format "{spelling.format}" or --time-format "{other}"'
        )
    return spelling
