"""What lies in artefacts, read as what it must be: tables, arrays and JSON of a known form.

A seal says that a file is what was written; it does not say that what was written makes sense, and
somebody else's artefact may be made to harm. So a file's form is checked where it is read: columns
and their types, shapes, ranges, and that numbers are numbers. What does not fit is a ValueError
that names the file; `Artifact.reading`, in which all reading is done, makes an ArtifactError of it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from gloss.arrays import Array, Ints

__all__ = [
    "finite",
    "parquet_rows",
    "read_array",
    "read_json",
    "read_table",
    "require",
    "require_rising",
]

_T = TypeVar("_T")

_ROW = "number of the row"


def require(fits: bool, file: Path | str, otherwise: str) -> None:
    """Raise ValueError, naming the file, unless something is as it must be."""
    if not fits:
        raise ValueError(f"{Path(file).name}: {otherwise}")


def finite(values: Array, file: Path | str) -> Array:
    """The values; ValueError if one of them is infinite or no number."""
    require(bool(np.isfinite(values).all()), file, "a number in it is infinite or none")
    return values


def parquet_rows(file: Path) -> int:
    """The rows of a Parquet file, by its footer."""
    counted = pl.scan_parquet(file, glob=False).select(pl.len()).collect()
    return int(counted.item())


def read_table(
    file: Path,
    columns: Mapping[str, Any],
    *,
    optional: Collection[str] = (),
    first: int = 0,
    count: int | None = None,
    rows: Ints | None = None,
) -> pl.DataFrame:
    """A Parquet file that has these columns, of these types and filled; others may stand beside
    them. optional: those of them that may hold nulls, at the top or in lists. first, count: the
    rows that are read, all by default; or rows, int64, ascending."""
    if rows is not None:
        numbered = pl.scan_parquet(file, glob=False).with_row_index(_ROW)
        wanted = pl.Series(rows, dtype=pl.get_index_type()).implode()
        frame = numbered.filter(pl.col(_ROW).is_in(wanted)).drop(_ROW).collect()
    elif count is None:
        frame = pl.read_parquet(file, glob=False)
    else:
        frame = pl.scan_parquet(file, glob=False).slice(first, count).collect()
    for name, kind in columns.items():
        found = frame.schema.get(name)
        require(found == kind, file, f"its column {name!r} is {found}, not {kind}")
        if name in optional:
            continue
        column = frame[name]
        filled = not column.null_count()
        if isinstance(kind, pl.List) and filled:
            filled = not column.list.eval(pl.element().is_null().any()).list.first().any()
        require(filled, file, f"something is missing in its column {name!r}")
    return frame


def read_array(file: Path, *, dtype: Any, shape: tuple[int | None, ...]) -> Array:
    """An array of this dtype and shape, in which None is any length; floats are finite."""
    # As a map, the file must be as large as its head says; a copy of it would be asked for first.
    found = np.load(file, allow_pickle=False, mmap_mode="r")
    require(found.dtype == dtype, file, f"its numbers are {found.dtype}, not {np.dtype(dtype)}")
    fits = len(found.shape) == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, found.shape, strict=True)
    )
    require(fits, file, f"its shape is {found.shape}")
    array: Array = np.array(found)
    return finite(array, file) if array.dtype.kind == "f" else array


def read_json(file: Path, kind: type[_T]) -> _T:
    """A JSON document of a type, without numbers that are none."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{file.name}: {constant} is no number")

    found = json.loads(file.read_bytes(), parse_constant=refuse)
    require(type(found) is kind, file, f"it is no {kind.__name__}")
    document: _T = found
    return document


def require_rising(values: Array, file: Path | str, *, first: int, last: int) -> None:
    """Raise ValueError unless whole numbers rise, or stay, from the first to the last.

    >>> require_rising(np.array([0, 2, 2, 3]), "indptr.npy", first=0, last=3)
    """
    ends = (int(values[0]), int(values[-1])) if len(values) else ()
    rises = bool((np.diff(values) >= 0).all())
    require(ends == (first, last) and rises, file, "its numbers are no ends of columns")
