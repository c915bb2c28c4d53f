"""Ids are values: spellings of one id are one, and what cannot be told apart is refused."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gloss.data.readers.ids import IdRule, canonical_id, canonical_ids
from gloss.data.readers.lines import BadLine
from gloss.errors import InputError
from preparing import bought, prepared, write

USUAL = IdRule()
RULES = (USUAL, IdRule(drop_zeros=True))


def column(values: list[Any], dtype: Any = pl.String, rule: IdRule = USUAL) -> list[str | None]:
    frame = pl.LazyFrame({"item": pl.Series(values, dtype=dtype)})
    return canonical_ids(frame, {"item": "item"}, rule, "log").collect()["item"].to_list()


def one(value: Any, rule: IdRule) -> str | None:
    try:
        return canonical_id(value, rule=rule)
    except BadLine:
        return None


@pytest.mark.parametrize("same", ["123", "123.0", "123.00", " 123", "123\t", "1.23e2", "\ufeff123"])
def test_spellings_of_a_number_are_one_id(same: str) -> None:
    assert canonical_id(same) == "123"
    assert column([same]) == ["123"]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([123], pl.Int64),
        ([123], pl.UInt8),
        ([123.0], pl.Float64),
        ([123.0], pl.Float32),
        ([Decimal("123.00")], pl.Decimal(10, 2)),
        ([b"123"], pl.Binary),
        (["123"], pl.Categorical),
    ],
)
def test_an_id_is_the_same_in_every_type(values: list[Any], dtype: Any) -> None:
    assert column(values, dtype) == ["123"]


@pytest.mark.parametrize("other", ["0123", "123.5", "123a", "12E3", "1.2.0", "v1.0", "-0", "+5x"])
def test_what_is_no_whole_number_stays_as_it_is(other: str) -> None:
    assert canonical_id(other) == other
    assert column([other]) == [other]


def test_leading_zeros_fall_only_when_they_are_told_to() -> None:
    values = ["0042", "42", "000", "0x1", "00.0"]
    assert column(values) == ["0042", "42", "000", "0x1", "00.0"]
    assert column(values, rule=IdRule(drop_zeros=True)) == ["42", "42", "0", "0x1", "00.0"]


def test_words_for_nothing_are_missing_and_can_be_chosen() -> None:
    values = ["", "NULL", "null", "nan", "NaN", "<NA>", "\\N", "  ", "None", "NA"]
    assert column(values) == [None] * 8 + ["None", "NA"]
    chosen = IdRule(missing=("NA",))
    assert column(["NA", "NULL", ""], rule=chosen) == [None, "NULL", None]


@pytest.mark.parametrize("value", [2.0**53, 2.0**60, -(2.0**53)])
def test_floats_too_large_to_be_exact_are_refused_by_name(value: float) -> None:
    for values, dtype in (([1.0, value], pl.Float64), (["1", f"{value:.1f}"], pl.String)):
        with pytest.raises(InputError, match=r"log: item is a float that holds .*2\^53"):
            column(values, dtype)
    with pytest.raises(BadLine, match=r"2\^53"):
        canonical_id(value)


def test_large_whole_numbers_are_exact() -> None:
    values = [2**53 + 1, 2**53 + 2, 2**63 - 1]
    assert column(values, pl.Int64) == list(map(str, values))
    assert column(list(map(str, values))) == list(map(str, values))


def test_letters_are_composed() -> None:
    assert column(["cafe\u0301"]) == [canonical_id("cafe\u0301")] == ["caf\u00e9"]


SPELLED = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.from_regex(r"\A[ +-]?0*\d{1,4}(\.0{0,2})? ?\Z"),
    st.from_regex(r"\A\d\.\d{0,3}[eE]\+?[0-9]\Z"),
    st.sampled_from(["NULL", "nan", "\\N", "", " "]),
)


@settings(deadline=None)
@given(st.lists(SPELLED, min_size=1, max_size=8), st.sampled_from(RULES))
@example([" 00"], IdRule(drop_zeros=True))
@example(["\u200b 0042\u00a0"], IdRule(drop_zeros=True))
def test_a_column_and_a_single_id_are_read_alike(values: list[str], rule: IdRule) -> None:
    assert column(values, rule=rule) == [one(value, rule) for value in values]


def test_both_sides_are_compared_as_values(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "user,item,time\n1.0,6.0,1\n1,7.0,2\n")
    items = tmp_path / "items.parquet"
    for numbers in ([6, 7], [6.0, 7.0], ["6", "7"], [Decimal("6.0"), Decimal("7.0")]):
        pl.DataFrame({"item": numbers, "title": ["A", "B"]}).write_parquet(items)
        assert bought(prepared(tmp_path / "out", log, items)) == {"1": ("6", "7")}


def test_ids_that_meet_nowhere_are_shown_from_both_sides(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "user,item,time\nu,0663,1\nu,0664,2\n")
    items = write(tmp_path / "items.csv", "item,title\n663,A\n664,B\n")
    with pytest.raises(InputError, match=r"'0663', '0664'.*'663', '664'.*--drop-leading-zeros"):
        prepared(tmp_path / "out", log, items)
    joined = prepared(tmp_path / "out", log, items, drop_leading_zeros=True)
    assert bought(joined) == {"u": ("663", "664")}


def test_unknown_items_are_counted_and_warned_of_above_a_share(tmp_path: Path) -> None:
    rows = "".join(f"u,{item},{n}\n" for n, item in enumerate("aaaaaaaaax"))
    log = write(tmp_path / "log.csv", "user,item,time\n" + rows)
    items = write(tmp_path / "items.csv", "item,title\na,A\n")
    summary = prepared(tmp_path / "out", log, items, unknown_share=0.09).summary
    assert summary["of them of items that the catalogue lacks"] == 1
    assert summary["warnings"][0].startswith("10.0% of the purchases name items that the catalogue")
    assert "such as 'x'; the catalogue has 'a'" in summary["warnings"][0]
    quiet = prepared(tmp_path / "out", log, items, unknown_share=0.1).summary
    assert not any("lacks" in warning for warning in quiet.get("warnings", ()))
