"""A table as its reader found it: columns under their own names, values as they came.

What is an id, a time or a title is decided later, in one place for all formats (tables.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from types import MappingProxyType

import polars as pl

from gloss.errors import InputError

__all__ = ["RawTable", "Request", "require_columns"]

_MOST_COLUMNS_NAMED = 20


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted of a table. needed, others: columns; a head is known by the needed ones; ids:
    columns that must hold ids; lists: columns that may hold lists; everything: all are wanted;
    options: by which option of the command line a needed column is named."""

    needed: tuple[str, ...]
    others: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    everything: bool = False
    options: Mapping[str, str] = field(default_factory=dict)

    def chosen(self, found: Sequence[str], path: Path) -> list[str]:
        """The columns to read, of those that were found; InputError if a needed one is absent."""
        require_columns(self.needed, found, path, self.options)
        if self.everything:
            return list(dict.fromkeys(found))
        require_columns(self.others, found, path)
        return list(dict.fromkeys((*self.needed, *self.others)))


@dataclass(frozen=True, slots=True)
class RawTable:
    """path: what a person calls the table; frame: its columns, in the order of the file; spelled:
    whether all values are text still, to be typed by what they spell; described: how it was read;
    lines: the lines at which rows (from 0) begin, to be named in messages."""

    path: Path
    frame: pl.LazyFrame
    spelled: bool
    described: str
    lines: Callable[[Sequence[int]], list[int]] = field(default=lambda rows: [r + 1 for r in rows])


def require_columns(
    names: Collection[str],
    found: Sequence[str],
    path: Path,
    options: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Raise InputError if a column is absent, naming the nearest ones and the option that names
    another, or stands there twice."""
    for name in names:
        if found.count(name) > 1:
            raise InputError(f"{path} has {found.count(name)} columns named {name!r}: rename one")
        if name not in found:
            nearest = sorted(found, key=lambda other: -_likeness(name, other))
            named = ", ".join(map(repr, nearest[:_MOST_COLUMNS_NAMED]))
            more = ", …" if len(nearest) > _MOST_COLUMNS_NAMED else ""
            cure = f": say which with {options[name]}" if name in options else ""
            raise InputError(f"{path} has no column {name!r}; it has {named}{more}{cure}")


def _likeness(name: str, other: str) -> float:
    return SequenceMatcher(None, name.lower(), other.lower()).ratio()
