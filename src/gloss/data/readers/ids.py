"""Ids as values: what makes two spellings the same user or item, for whole columns and for one id.

An id is text. `6`, `6.0`, `6.00` and `"6"` are the same id; spaces and invisible characters around
it fall away; Unicode is composed (NFC). Leading zeros are part of an id ("007" is not "7") unless
they are dropped on purpose. A float from 2^53 on no longer tells neighbouring whole numbers apart,
so it is refused as an id.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl

from gloss.data.readers.lines import BadLine, is_well_formed
from gloss.errors import InputError

__all__ = ["MISSING", "IdRule", "canonical_id", "canonical_ids"]

MISSING = ("", "NULL", "null", "nan", "NaN", "NAN", "<NA>", "\\N")
"""What stands for no value in text, unless other words are given."""

_EXACT = 2**53
_FLOAT = r"^([+-]?(?:0|[1-9][0-9]*))\.0*$"
_SCIENTIFIC = r"^[+-]?[0-9]+\.[0-9]*[eE][+-]?[0-9]+$"
_WHOLE = r"^[0-9]+$"
_ZEROS = r"^0+([0-9])"

# Spaces, control characters and what cannot be seen: no part of an id at either end of it.
_CONTROLS = "".join(map(chr, (*range(0x21), *range(0x7F, 0xA1))))
_EDGES = (
    _CONTROLS
    + "\u1680\u2028\u2029\u202f\u205f\u3000\ufeff\u2060"
    + "".join(map(chr, range(0x2000, 0x2010)))
)


@dataclass(frozen=True, slots=True)
class IdRule:
    """How ids are compared. missing: spellings of no value; drop_zeros: whether leading zeros of
    whole numbers fall away, so that 0042 and 42 are the same."""

    missing: tuple[str, ...] = MISSING
    drop_zeros: bool = False

    @classmethod
    def recorded(cls, settings: Mapping[str, Any]) -> IdRule:
        """The rule that a data set's recorded settings have; the usual one where they say nothing.

        >>> IdRule.recorded({"missing": ["-"], "drop_leading_zeros": True})
        IdRule(missing=('-',), drop_zeros=True)
        """
        missing = settings.get("missing")
        return cls(
            MISSING if missing is None else tuple(missing),
            bool(settings.get("drop_leading_zeros")),
        )


def canonical_id(value: Any, column: str = "id", rule: IdRule = IdRule()) -> str:
    """One id of any type as the text that all entrances compare.

    >>> canonical_id(6.0), canonical_id(" 6 "), canonical_id("007")
    ('6', '6', '007')

    Raises BadLine saying why the value is no id.
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise BadLine(f"{column} is missing")
    if isinstance(value, list | tuple | Mapping):
        raise BadLine(f"{column} is not an id")
    text = _plain(value).strip(_EDGES)
    if text in rule.missing or not text:
        raise BadLine(f"{column} is missing")
    if not is_well_formed(text):
        raise BadLine(f"{column} holds half a character")
    text = _without_fraction(unicodedata.normalize("NFC", text), column)
    is_padded = rule.drop_zeros and re.fullmatch(_WHOLE, text)
    return re.sub(_ZEROS, r"\1", text) if is_padded else text


def _plain(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value)


def _without_fraction(text: str, column: str) -> str:
    """A whole number that is spelled as a float, without its fraction."""
    spelled = re.fullmatch(_FLOAT, text)
    if not spelled and not re.fullmatch(_SCIENTIFIC, text):
        return text
    number = Decimal(text)
    if number != int(number):
        return text
    if abs(number) >= _EXACT:
        raise BadLine(_lossy(column, text))
    return spelled[1] if spelled else str(int(number))


def _lossy(column: str, text: str) -> str:
    return (
        f"{column} is a float that holds {text}, and floats from 2^53 (9,007,199,254,740,992) on "
        "do not tell neighbouring whole numbers apart: write such ids as integers or as text"
    )


def canonical_ids(
    frame: pl.LazyFrame, labels: Mapping[str, str], rule: IdRule, where: str
) -> pl.LazyFrame:
    """The frame with some columns as ids: text, null where there is none.

    labels: the columns, and what they are called in the file. What a column needs is looked up
    first, so that clean columns pass at no cost. Raises InputError, naming the file `where`, if a
    column holds floats too large to be exact.
    """
    schema = frame.collect_schema()
    for name, label in labels.items():
        if schema[name].is_nested():
            raise InputError(f"{where}: {label} is not an id: it is {schema[name]}")
        if schema[name].is_float():
            _refuse_lossy(frame, name, pl.col(name), f"{where}: {label}")
    frame = frame.with_columns(_as_text(frame, name, schema[name]) for name in labels)
    looks = frame.select(each for name in labels for each in _looks(name, rule)).collect(
        engine="streaming"
    )
    found = {name for name in looks.columns if looks[name][0]}
    for name, label in labels.items():
        if f"{name} points" in found:
            _refuse_lossy(frame, name, _spelled_float(name), f"{where}: {label}")
    return frame.with_columns(_cleaned(name, found, rule) for name in labels)


def _refuse_lossy(frame: pl.LazyFrame, name: str, number: pl.Expr, label: str) -> None:
    large = frame.filter(number.is_finite() & (number == number.floor()) & (number.abs() >= _EXACT))
    first = large.select(pl.col(name).cast(pl.String)).head(1).collect(engine="streaming")
    if first.height:
        raise InputError(_lossy(label, first.item()))


def _spelled_float(name: str) -> pl.Expr:
    text = pl.col(name).str.strip_chars(_EDGES)
    is_float = text.str.contains(_FLOAT) | text.str.contains(_SCIENTIFIC)
    return pl.when(is_float).then(text).cast(pl.Float64, strict=False)


def _as_text(frame: pl.LazyFrame, name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if kind == pl.String:
        return column
    if kind.is_float():
        whole = (column == column.floor()) & column.is_finite()
        exact = pl.when(whole & (column.abs() < _EXACT)).then(column)
        text = (
            pl.when(whole)
            .then(exact.cast(pl.Int64).cast(pl.String))
            .otherwise(column.cast(pl.String))
        )
        return pl.when(column.is_nan()).then(None).otherwise(text).alias(name)
    if kind.is_decimal():
        return column.cast(pl.String).str.replace(r"\.0*$", "").alias(name)
    if kind == pl.Binary:
        return column.cast(pl.String) if _is_utf8(frame, name) else column.bin.encode("hex")
    return column.cast(pl.String)


def _is_utf8(frame: pl.LazyFrame, name: str) -> bool:
    """Whether bytes spell text; others, as of UUIDs, are ids in hexadecimal."""
    try:
        frame.select(pl.col(name).cast(pl.String).count()).collect(engine="streaming")
    except pl.exceptions.ComputeError:
        return False
    return True


def _looks(name: str, rule: IdRule) -> list[pl.Expr]:
    """Whether a column has what must be mended; asked of all its values at once."""
    column = pl.col(name)
    return [
        column.str.contains(r"[^\x21-\x7e]").any().alias(f"{name} edges"),
        column.str.contains(".", literal=True).any().alias(f"{name} points"),
        column.str.starts_with("0").any().alias(f"{name} zeros"),
        column.is_in([*rule.missing, ""]).any().alias(f"{name} missing"),
    ]


def _cleaned(name: str, found: set[str], rule: IdRule) -> pl.Expr:
    text: pl.Expr = pl.col(name)
    if f"{name} edges" in found:
        text = text.str.strip_chars(_EDGES).str.normalize("NFC")
    if f"{name} edges" in found or f"{name} missing" in found:
        text = pl.when(~text.is_in([*rule.missing, ""])).then(text)
    if f"{name} points" in found:
        text = text.str.replace(_FLOAT, "$1")
        text = pl.when(text.str.contains(_SCIENTIFIC)).then(_from_scientific(text)).otherwise(text)
    if rule.drop_zeros and found & {f"{name} zeros", f"{name} edges"}:  # edges hide zeros
        whole = text.str.contains(_WHOLE)
        text = pl.when(whole).then(text.str.replace(_ZEROS, "$1")).otherwise(text)
    return text.alias(name)


def _from_scientific(text: pl.Expr) -> pl.Expr:
    number = text.cast(pl.Float64, strict=False)
    whole = (number == number.floor()) & (number.abs() < _EXACT)
    return pl.when(whole).then(number.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(text)
