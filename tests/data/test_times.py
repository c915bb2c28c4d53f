"""Times in any spelling sort as they should, or are refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gloss.data.readers.times import understand_times
from gloss.errors import InputError
from preparing import bought, csv_items, prepared, write

# In this order; days above 12 and below, all hours, months whose names sort otherwise.
MOMENTS = [
    datetime(2016, 11, 30, 23, 59, 59, tzinfo=UTC),
    datetime(2017, 1, 2, 3, 4, 5, tzinfo=UTC),
    datetime(2017, 4, 14, 13, 0, 9, tzinfo=UTC),
    datetime(2017, 8, 5, 0, 7, 0, tzinfo=UTC),
    datetime(2018, 2, 28, 12, 30, 0, tzinfo=UTC),
]
EAST = timezone(timedelta(hours=5, minutes=30))


def micros(moment: datetime) -> int:
    return round(moment.timestamp() * 10**6)


def read(texts: list[str], **options: Any) -> list[float | None]:
    frame = pl.LazyFrame({"time": texts}, schema={"time": pl.String})
    clock = understand_times(frame, "when", **options)
    return frame.select(clock.values).collect().to_series().to_list()


SPELLINGS = {
    "ISO": "%Y-%m-%dT%H:%M:%S",
    "ISO, Z": "%Y-%m-%dT%H:%M:%SZ",
    "ISO, space": "%Y-%m-%d %H:%M:%S",
    "ISO, UTC": "%Y-%m-%d %H:%M:%S UTC",
    "ISO, fraction": "%Y-%m-%d %H:%M:%S.000",
    "ISO, comma": "%Y-%m-%d %H:%M:%S,000",
    "ISO, microseconds, UTC": "%Y-%m-%d %H:%M:%S.000000 UTC",
    "slashes": "%Y/%m/%d %H:%M:%S",
    "points, year first": "%Y.%m.%d %H:%M:%S",
    "compact": "%Y%m%dT%H%M%SZ",
    "European, points": "%d.%m.%Y %H:%M:%S",
    "European, slashes": "%d/%m/%Y %H:%M:%S",
    "European, dashes": "%d-%m-%Y %H:%M:%S",
    "European, two digits": "%d.%m.%y %H:%M:%S",
    "American": "%m/%d/%Y %H:%M:%S",
    "American, two digits": "%m/%d/%y %H:%M:%S",
    "American, half days": "%m/%d/%Y %I:%M:%S %p",
    "month named": "%d %b %Y %H:%M:%S",
    "month named, dashes": "%d-%b-%Y %H:%M:%S",
    "month named first": "%B %d, %Y %H:%M:%S",
    "RFC 2822, GMT": "%a, %d %b %Y %H:%M:%S GMT",
    "C": "%a %b %d %H:%M:%S %Y",
    "Twitter": "%a %b %d %H:%M:%S +0000 %Y",
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_dates_in_every_spelling_are_moments(name: str) -> None:
    texts = [moment.strftime(SPELLINGS[name]) for moment in MOMENTS]
    assert read(texts) == [micros(moment) for moment in MOMENTS]


def test_zones_are_counted_and_may_differ() -> None:
    moments = [micros(moment) for moment in MOMENTS]
    for form in ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S %z"):
        assert read([m.astimezone(EAST).strftime(form) for m in MOMENTS]) == moments
    assert read([m.astimezone(EAST).isoformat() for m in MOMENTS]) == moments
    assert read([format_datetime(m.astimezone(EAST)) for m in MOMENTS]) == moments
    mixed = [MOMENTS[0].isoformat(), *(m.astimezone(EAST).isoformat() for m in MOMENTS[1:])]
    assert read(mixed) == moments
    assert read(["2017-01-02 03:00:00+02"]) == [micros(datetime(2017, 1, 2, 1, tzinfo=UTC))]


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d", "%d.%m.%Y", "Posted %B %d, %Y.", "%b %d, %Y", "%Y/%m/%d"]
)
def test_days_without_hours_begin_at_midnight(form: str) -> None:
    days = [moment.replace(hour=0, minute=0, second=0) for moment in MOMENTS]
    assert read([day.strftime(form) for day in days]) == [micros(day) for day in days]


def test_months_begin_on_their_first_day() -> None:
    assert read(["2017-07", "2017-11"]) == [
        micros(datetime(2017, month, 1, tzinfo=UTC)) for month in (7, 11)
    ]


def test_nanoseconds_are_cut_to_microseconds() -> None:
    assert read(["2017-07-14 02:40:00.123456789"]) == [1_500_000_000_123_456]


def test_one_column_may_spell_dates_in_several_ways() -> None:
    texts = ["2017-01-02", "2017-01-02 00:00:01", "2017-01-02T00:00:02Z", "2017-01-02 00:00:03.5"]
    start = micros(datetime(2017, 1, 2, tzinfo=UTC))
    assert read(texts) == [start + step for step in (0, 1_000_000, 2_000_000, 3_500_000)]


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["1500000000", "1500000060"], [1_500_000_000, 1_500_000_060]),
        (["1500000000.5", "1500000000"], [1_500_000_000.5, 1_500_000_000]),
        (["1500000000.0", "1500000060.0"], [1_500_000_000, 1_500_000_060]),
        (["9007199254740993", "1"], [2**53 + 1, 1]),
        (["1", "2", "20170714"], [1, 2, 20_170_714]),
    ],
)
def test_numbers_stay_as_they_are(texts: list[str], numbers: list[float]) -> None:
    assert read(texts) == numbers


UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@pytest.mark.parametrize("first", UNITS)
@pytest.mark.parametrize("second", UNITS)
def test_two_units_in_one_column_are_refused_by_rows_of_both(first: str, second: str) -> None:
    now = 1_500_000_000
    texts = [str(now * UNITS[first]), str(now * UNITS[first] + 1), str(now * UNITS[second] + 2)]
    if first == second:
        assert read(texts) == list(map(int, texts))
        return
    with pytest.raises(InputError, match=r"(?s)mixes units.*row 1: .*row 3: |row 3: .*row 1: "):
        read(texts)
    assert read(texts, unit="none") == list(map(int, texts))


def test_mixed_units_are_named_by_file_and_line_also_over_two_files(tmp_path: Path) -> None:
    head = "user,item,time\n"
    first = write(tmp_path / "a.csv", head + "u,i0,1500000000\nu,i1,1500000001\n")
    second = write(tmp_path / "b.csv", head + "u,i2,1500000000000\n")
    items = write(tmp_path / "items.csv", csv_items())
    with pytest.raises(InputError, match=r"a\.csv:2: 1500000000 would be seconds \(2017-07-14\)"):
        prepared(tmp_path / "out", (first, second), items)
    with pytest.raises(InputError, match=r"b\.csv:2: 1500000000000 would be milliseconds"):
        prepared(tmp_path / "out", (first, second), items)


def test_a_day_that_could_be_a_month_is_not_guessed() -> None:
    texts = ["03/04/2017 10:00", "05/06/2017 11:00"]
    with pytest.raises(InputError, match=r'--time-format "%d/%m/%Y %H:%M" or .*"%m/%d/%Y %H:%M"'):
        read(texts)
    april = micros(datetime(2017, 4, 3, 10, tzinfo=UTC))
    assert read(texts, format="%d/%m/%Y %H:%M")[0] == april


def test_days_first_and_months_first_in_one_column_are_refused() -> None:
    with pytest.raises(InputError, match=r"day first \(row 2: 14/07/2017\) .* \(row 3: 07/15/2017"):
        read(["03/04/2017", "14/07/2017", "07/15/2017"])


def test_what_is_no_date_is_null_and_a_reason_names_it() -> None:
    frame = pl.LazyFrame({"time": ["2017-01-02", "soon", "2017-13-45", "2017-01-03 PST"]})
    clock = understand_times(frame, "when")
    values = frame.select(clock.values).collect().to_series()
    assert values.is_null().to_list() == [False, True, True, True]
    assert clock.complaint("soon") == (
        "when is no number and no date that is known (say --time-format): 'soon'"
    )


def test_a_format_holds_for_all_rows() -> None:
    assert read(["2017|02", "2017-03"], format="%Y|%d")[1] is None
    assert read(["07/2017"], format="%m/%Y") == [micros(datetime(2017, 7, 1, tzinfo=UTC))]


def test_times_of_mongo_exports(tmp_path: Path) -> None:
    whens = [
        {"$date": "2017-07-14T02:40:00.000Z"},
        {"$date": "2017-07-14T02:41:00Z"},
        {"$date": "2017-07-13T02:40:00.5Z"},
    ]
    rows = [{"user": "u", "item": f"i{n}", "time": when} for n, when in enumerate(whens)]
    log = write(tmp_path / "log.json", "\n".join(map(json.dumps, rows)))
    items = write(tmp_path / "items.csv", csv_items())
    assert bought(prepared(tmp_path / "out", log, items)) == {"u": ("i2", "i0", "i1")}
    for row, number in zip(rows, ("3", "2", "1"), strict=True):
        row["time"] = {"$date": {"$numberLong": number}}
    write(log, json.dumps(rows))
    assert bought(prepared(tmp_path / "out", log, items)) == {"u": ("i2", "i1", "i0")}
