"""How a delimited text is written: its delimiter, quotes, escapes and head, said or detected.

Detection reads the beginning of the file. What it cannot see there, a broken row far below, is met
by the reader (delimited.py), which tries the other ways of quoting before it calls rows bad.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gloss.errors import InputError

if TYPE_CHECKING:
    from _csv import Reader as _Reader

# Fields of any length: what is not read must not stop what is.
csv.field_size_limit(2**31 - 1)

__all__ = ["DELIMITERS", "Dialect", "DialectChoice", "detect_dialect", "split_row"]

DELIMITERS = (",", ";", "\t", "|", "::")

_SAMPLE_CHARACTERS = 1 << 20
_SAMPLE_LINES = 500
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
_SEPARATOR_LINE = re.compile(r'"?sep=(.+?)"?', re.IGNORECASE)
_RECBOLE_HEAD = re.compile(r"(.+):(token|token_seq|float|float_seq)")


@dataclass(frozen=True, slots=True)
class DialectChoice:
    """What was said about a file; None is to be detected. quote: "" for none. is_inherited: it was
    said about the purchases, and holds for items as far as they do not show otherwise."""

    delimiter: str | None = None
    quote: str | None = None
    header: bool | None = None
    encoding: str | None = None
    is_inherited: bool = False

    def fitting(self, lines: Sequence[str], wanted: Collection[str]) -> DialectChoice:
        """What holds for a file that begins with these lines."""
        if not self.is_inherited:
            return self
        text = "".join(lines)
        by_number = all(name.isdecimal() for name in wanted)
        return replace(
            self,
            delimiter=self.delimiter if (self.delimiter or "") in lines[0] else None,
            quote=self.quote if (self.quote or "") in text else None,
            header=self.header if by_number else None,
        )


@dataclass(frozen=True, slots=True)
class Dialect:
    """How rows are written. columns: the names in the head, or "1", "2", … where there is none;
    head_lines: how many lines come before the first row."""

    delimiter: str
    quote: str
    escape: str
    columns: tuple[str, ...]
    head_lines: int
    has_head: bool

    def described(self) -> str:
        """In words, for the reader of a summary."""
        quoting = f"quotes {self.quote}" if self.quote else "no quotes"
        escaping = " escaped by \\" if self.escape == "\\" and self.quote else ""
        head = "" if self.has_head else ", no head"
        between = _NAMES.get(self.delimiter, repr(self.delimiter))
        return f"{between} between columns, {quoting}{escaping}{head}"


def detect_dialect(
    path: Path, said: DialectChoice, *, wanted: Collection[str], shown: Path
) -> Dialect:
    """How a UTF-8 text is written. wanted: names that its head should hold, the best of signs.

    Raises InputError when the file holds no row, or no delimiter can be told.
    """
    lines, before = _sample(path)
    if not lines:
        raise InputError(f"{shown} has no rows")
    delimiter, before = _separator_line(lines, before)
    if not lines:
        raise InputError(f"{shown} has no rows")
    said = said.fitting(lines, wanted)
    delimiter = said.delimiter or delimiter
    if delimiter is None:
        delimiter = _likeliest_delimiter(lines, wanted, shown)
    dialect = Dialect(delimiter, '"', '"', (), 0, True)
    dialect = _with_quoting(dialect, said.quote, lines)
    return _with_columns(dialect, lines, before, wanted=wanted, header=said.header)


def split_row(dialect: Dialect, lines: Sequence[str]) -> list[str]:
    """The fields of the first row in `lines`; csv.Error if it is not written so."""
    if len(dialect.delimiter) > 1:
        return lines[0].rstrip("\r\n").split(dialect.delimiter)
    return next(_rows(dialect, lines))


def _rows(dialect: Dialect, lines: Iterable[str]) -> _Reader:
    backslash = dialect.escape == "\\" and bool(dialect.quote)
    return csv.reader(
        lines,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        escapechar="\\" if backslash else None,
        doublequote=not backslash,
        strict=True,
    )


def _sample(path: Path) -> tuple[list[str], int]:
    """The first lines that are not blank, and how many blank ones come before them."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        text = file.read(_SAMPLE_CHARACTERS)
        whole = not file.read(1)
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    lines = lines if whole or len(lines) == 1 else lines[:-1]
    blank = next((n for n, line in enumerate(lines) if not line.isspace()), len(lines))
    return lines[blank : blank + _SAMPLE_LINES], blank


def _separator_line(lines: list[str], before: int) -> tuple[str | None, int]:
    """The delimiter that a line such as `sep=;` names (Excel's); the line is taken away."""
    found = _SEPARATOR_LINE.fullmatch(lines[0].strip("\r\n"))
    if not found:
        return None, before
    del lines[0]
    return found[1].replace("\\t", "\t"), before + 1


def _likeliest_delimiter(lines: Sequence[str], wanted: Collection[str], path: Path) -> str:
    """The one that gives the head the wanted names; else the most columns, and evenly."""
    scores = {each: _score(each, lines, wanted) for each in DELIMITERS}
    best = max(scores, key=lambda each: scores[each])
    if scores[best] == _NO_SCORE:
        if len(wanted) == 1 or path.suffix.lower() in (".csv", ".tsv"):
            return "\t" if path.suffix.lower() == ".tsv" else ","
        raise InputError(
            f"{path}: no delimiter can be told from its first lines ({lines[0].strip()[:60]!r}): "
            "say --delimiter"
        )
    return best


_Score = tuple[int, float, int]
_NO_SCORE: _Score = (0, 0.0, 0)


def _score(delimiter: str, lines: Sequence[str], wanted: Collection[str]) -> _Score:
    """Wanted names in the head, share of rows that are even, columns."""
    dialect = Dialect(delimiter, '"', '"', (), 0, True)
    widths = _widths(dialect, lines)
    if widths is None:
        widths = _widths(replace(dialect, escape="\\"), lines)
    if widths is None:
        widths = [len(line.split(delimiter)) for line in lines]
    width, rows = Counter(widths).most_common(1)[0]
    if width < 2:
        return _NO_SCORE
    names = {_bare(name.strip(' "\r\n\ufeff')) for name in lines[0].split(delimiter)}
    return len(names & {_bare(name) for name in wanted}), rows / len(widths), width


def _widths(dialect: Dialect, lines: Sequence[str]) -> list[int] | None:
    """How many fields each row has; None if the lines are not written so."""
    if len(dialect.delimiter) > 1:
        return [len(line.split(dialect.delimiter)) for line in lines]
    reader = _rows(dialect, lines)
    widths: list[int] = []
    try:
        widths.extend(len(row) for row in reader if row)
    except csv.Error:
        # The sample may end within a field of several lines; that is no fault of the dialect.
        if reader.line_num < len(lines):
            return None
    return widths or None


def _with_quoting(dialect: Dialect, said: str | None, lines: Sequence[str]) -> Dialect:
    """Quotes as said; by default those of CSV, and between tabs only where they show."""
    if said is not None:
        dialect = replace(dialect, quote=said, escape=said)
    elif dialect.delimiter not in (",", ";") and not _shows_quoting(dialect, lines):
        return replace(dialect, quote="", escape="")
    if not dialect.quote or len(dialect.delimiter) > 1:
        return replace(dialect, quote="", escape="")
    backslash = replace(dialect, escape="\\")
    if _widths(dialect, lines) is None and _evenly(_widths(backslash, lines)):
        return backslash
    return dialect


def _evenly(widths: list[int] | None) -> bool:
    return widths is not None and len(set(widths)) == 1


def _shows_quoting(dialect: Dialect, lines: Sequence[str]) -> bool:
    """Whether quotes can only be meant as quotes: a column has them throughout, or a quoted field
    holds a delimiter or doubled quotes, and no field merely begins with one."""
    bare = [line.rstrip("\r\n").split(dialect.delimiter) for line in lines]
    opening = [field for row in bare for field in row if field.startswith('"')]
    if not opening:
        return False
    if all(len(field) > 1 and field.endswith('"') for field in opening):
        doubled = any('""' in field[1:-1] for field in opening if len(field) > 4)
        return doubled or _has_quoted_column(bare)
    return _evenly(_widths(dialect, lines)) and not _evenly([len(row) for row in bare])


def _has_quoted_column(rows: Sequence[Sequence[str]]) -> bool:
    if len(rows) < 2 or len({len(row) for row in rows}) != 1:
        return False
    columns = zip(*rows[1:], strict=True)
    return any(all(field[:1] == '"' for field in column) for column in columns)


def _with_columns(
    dialect: Dialect,
    lines: Sequence[str],
    before: int,
    *,
    wanted: Collection[str],
    header: bool | None,
) -> Dialect:
    """The names in the head; without one, numbers from 1."""
    try:
        first = split_row(dialect, lines)
    except csv.Error:
        first = lines[0].rstrip("\r\n").split(dialect.delimiter)
    if header is None:
        header = not (bool(wanted) and all(name.isdecimal() for name in wanted))
    if not header:
        numbers = tuple(str(place) for place in range(1, len(first) + 1))
        return replace(dialect, columns=numbers, head_lines=before, has_head=False)
    names = [name.strip() for name in first]
    if all(_RECBOLE_HEAD.fullmatch(name) for name in names):
        names = [name if name in wanted else _bare(name) for name in names]
    lines_of_head = 1 + sum(name.count("\n") for name in first)
    return replace(dialect, columns=tuple(names), head_lines=before + lines_of_head, has_head=True)


def _bare(name: str) -> str:
    """A column's name without the type that RecBole writes after it."""
    found = _RECBOLE_HEAD.fullmatch(name)
    return found[1] if found else name
