"""The Amazon review files of 2014: five-core reviews and metadata of one category.

Knows the names and line formats of the original distribution
(https://snap.stanford.edu/data/amazon/productGraph): reviews are one JSON object a line, metadata
one *Python literal* a line. The words `asin` and `reviewer` end here. Knows nothing of splits.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from gloss.data.purchases import PurchaseLog
from gloss.data.readers.lines import (
    BadLine,
    BadLines,
    is_well_formed,
    json_object,
    parse_lines,
    repair_text,
)
from gloss.errors import InputError, UsageError

__all__ = ["CATEGORIES", "file_names", "find_files", "read_amazon"]

CATEGORIES = {
    "beauty": "Beauty",
    "toys": "Toys_and_Games",
    "sports": "Sports_and_Outdoors",
}
"""Short names, and what the files call them. Every other category goes by its original name."""

_LATEST = 2**40
"""No time in seconds is later; what is, was written in another unit."""

# A metadata line that opens with its asin and holds nothing but literals. Checking this takes a
# tenth of the time of parsing the line, and most lines of the originals are of items nobody bought.
_SKIPPABLE = re.compile(
    r"""\{'asin':\ '(?P<asin>\w+)'(?=[,}])
    (?: '(?:[^'\\]++|\\.)*+'
      | "(?:[^"\\]++|\\.)*+"
      | [\s\d.,:+{}\[\]()-]++
      | None | True | False
    )*+
    (?<=\}) """,
    re.VERBOSE,
)


def file_names(category: str) -> tuple[str, str]:
    """The names of a category's reviews and metadata, without `.gz`.

    >>> file_names("toys")
    ('reviews_Toys_and_Games_5.json', 'meta_Toys_and_Games.json')

    Raises UsageError when the name cannot be part of a file's name.
    """
    stem = CATEGORIES.get(category.lower(), category)
    if not re.fullmatch(r"\w[\w&,. -]*", stem):
        raise UsageError(
            f"{category!r} is not a category: use {', '.join(CATEGORIES)}, "
            "or the name in the original files, such as Office_Products"
        )
    return f"reviews_{stem}_5.json", f"meta_{stem}.json"


def read_amazon(category: str, source: Path, *, max_bad_lines: int = 0) -> PurchaseLog:
    """Read a category's reviews and metadata, each `.json.gz` or `.json`, from the folder `source`.

    Of the metadata only the items of the reviews are kept. A line is bad that is not UTF-8, not
    JSON (or, in metadata, a Python literal), or lacks an id or a time of the right type; blank
    lines are passed over. Half characters in titles ("\\ud800") become U+FFFD and are counted.

    Raises InputError when a file is missing or damaged, or more than `max_bad_lines` lines are bad.
    """
    reviews, metadata = find_files(category, source)
    bad = BadLines(max_bad_lines)
    interactions = _read_reviews(reviews, bad)
    items, counts = _read_metadata(metadata, bad, bought=set(interactions["item"]))
    bad.check()
    if interactions.is_empty():
        raise InputError(f"{reviews} holds no review")
    counts = {"review lines": interactions.height, **counts, "bad lines": bad.count}
    return PurchaseLog(interactions, items, counts)


def find_files(category: str, source: Path) -> tuple[Path, Path]:
    """A category's reviews and metadata in a folder; InputError naming the one that is missing."""
    reviews, metadata = (_find(Path(source), name, category) for name in file_names(category))
    return reviews, metadata


def _find(source: Path, name: str, category: str) -> Path:
    for found in (source / f"{name}.gz", source / name):
        if found.is_file():
            return found
    short = "" if category.lower() in CATEGORIES else f" (short names: {', '.join(CATEGORIES)})"
    raise InputError(f"{source} has neither {name}.gz nor {name}: is it the right folder?{short}")


def _read_reviews(path: Path, bad: BadLines) -> pl.DataFrame:
    rows = [review for _, review in parse_lines(path, _parse_review, bad)]
    schema = {"user": pl.String, "item": pl.String, "time": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _read_metadata(
    path: Path, bad: BadLines, *, bought: Collection[str]
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Items (columns item, title) of the lines whose asin is in `bought`, and what was counted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # literals such as '\\d' parse, and warn
        found = [item for _, item in parse_lines(path, partial(_parse_item, bought=bought), bad)]
    rows = [item for item in found if item is not None]
    damaged = [n for n, (_, title) in enumerate(rows) if title and not is_well_formed(title)]
    for n in damaged:
        rows[n] = (rows[n][0], repair_text(rows[n][1] or ""))
    counts = {
        "metadata lines": len(found),
        "metadata lines of items nobody bought": len(found) - len(rows),
        "titles with half characters": len(damaged),
    }
    return pl.DataFrame(rows, schema={"item": pl.String, "title": pl.String}, orient="row"), counts


def _parse_review(text: str) -> tuple[str, str, int]:
    review = json_object(text)
    return _id(review, "reviewerID"), _id(review, "asin"), _seconds(review, "unixReviewTime")


def _parse_item(text: str, *, bought: Collection[str]) -> tuple[str, str | None] | None:
    """A bought item's asin and title; None for an item that nobody bought."""
    text = text.strip()
    skippable = _SKIPPABLE.fullmatch(text)
    if skippable and skippable["asin"] not in bought:
        return None
    entry = _entry(text)
    asin, title = _id(entry, "asin"), entry.get("title")
    if title is not None and not isinstance(title, str):
        raise BadLine("title is not text")
    return (asin, title) if asin in bought else None


def _entry(text: str) -> dict[str, Any]:
    """A Python literal, or JSON as some mirrors have it; never evaluated."""
    if text.startswith('{"'):
        with suppress(BadLine):
            return json_object(text)
    try:
        entry = ast.literal_eval(text)
    except SyntaxError as error:
        raise BadLine(f"not a Python literal: {error.msg} (column {error.offset})") from None
    except (ValueError, TypeError, MemoryError, RecursionError):
        raise BadLine("not a Python literal: it holds more than plain values") from None
    if not isinstance(entry, dict):
        raise BadLine("not an object with fields")
    return entry


def _id(entry: dict[str, Any], field: str) -> str:
    value = entry.get(field)
    if not isinstance(value, str) or not value:
        raise BadLine(f"{field} is not text" if value else f"{field} is missing")
    if not is_well_formed(value):
        raise BadLine(f"{field} holds half a character")
    return value


def _seconds(entry: dict[str, Any], field: str) -> int:
    value = entry.get(field)
    if value is None:
        raise BadLine(f"{field} is missing")
    if type(value) is not int or abs(value) > _LATEST:
        raise BadLine(f"{field} is not a whole number of seconds")
    return value
