"""FAISS's files, read as data before FAISS reads them.

Its reader believes every number in a file: of a wrong one it takes memory without end, walks a
graph in circles, or ends the process. So everything in a file is compared here with what our
indexes are made of: the vectors are the ones that lie beside it, and a graph's edges lead to
vertices that there are. Knows the two kinds that we write, IndexHNSWFlat ("IHNf") and IndexIVFFlat
("IwFl"), little-endian, as faiss/impl/index_write.cpp writes them. Needs no FAISS.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from gloss.arrays import Array, Floats, Ints
from gloss.artifacts.content import finite, require

__all__ = ["require_index_of"]

_MAX_LEVELS = 64
_INNER_PRODUCT = 0


def require_index_of(file: Path, vectors: Floats) -> None:
    """Raise ValueError unless a file holds an index of ours over these vectors, and no more.

    vectors: float32 (rows, dimension).
    """
    cursor = _Cursor(file)
    kind = cursor.head(len(vectors), vectors.shape[1])
    require(kind in _BODIES, file, f"it is no index of ours ({kind!r})")
    _BODIES[kind](cursor, vectors)
    cursor.require(cursor.is_at_end, "something stands behind its end")


class _Cursor:
    """A place in a file, from which numbers are taken."""

    def __init__(self, file: Path) -> None:
        self._file, self._place = file, 0
        self._bytes: Array = np.memmap(file, np.uint8, mode="r")

    @property
    def is_at_end(self) -> bool:
        return self._place == len(self._bytes)

    def require(self, fits: bool | np.bool_, otherwise: str) -> None:
        require(bool(fits), self._file, otherwise)

    def take(self, form: str) -> tuple[int, ...]:
        """Numbers in the form of `struct`."""
        return struct.unpack(f"<{form}", self._next(struct.calcsize(f"<{form}")).tobytes())

    def expect(self, form: str, *numbers: int) -> None:
        found = self.take(form)
        self.require(found == numbers, f"{found} where {numbers} should be")

    def word(self) -> bytes:
        """Four letters, which say what follows."""
        return self._next(4).tobytes()

    def array(self, dtype: str, length: int | None = None) -> Array:
        """An array behind its length; length: what that must be."""
        (count,) = self.take("Q")
        self.require(length in (None, count), f"{count} numbers where {length} should be")
        return self.bare(dtype, count)

    def bare(self, dtype: str, count: int) -> Array:
        """An array whose length is known."""
        return self._next(count * np.dtype(dtype).itemsize).view(dtype)

    def head(self, rows: int, dimension: int) -> bytes:
        """The kind of an index of so many rows; two numbers of its head mean nothing."""
        kind = self.word()
        self.expect("iq", dimension, rows)
        self.take("qq")
        self.expect("Bi", 1, _INNER_PRODUCT)
        return kind

    def flat(self, rows: int, dimension: int) -> Floats:
        """The vectors of an IndexFlatIP, float32 (rows, dimension)."""
        kind = self.head(rows, dimension)
        self.require(kind == b"IxFI", f"its vectors are kept as {kind!r}")
        floats = self.array("<f4", rows * dimension).reshape(rows, dimension)
        return finite(floats, self._file)

    def _next(self, count: int) -> Array:
        self.require(count <= len(self._bytes) - self._place, "it ends too early")
        found = self._bytes[self._place : self._place + count]
        self._place += count
        return found


def _require_graph(cursor: _Cursor, vectors: Floats) -> None:
    """A vertex of three levels with M = 2 has 2M edges on the lowest and M on the others; those of
    all vertices lie one after the other, and -1 is none:

        edges up to a level     0 4 6 8
        a vertex's edges        5 7 2 -1 | 7 -1 | 3 -1
    """
    rows = len(vectors)
    chances = cursor.array("<f8")
    cursor.require(
        len(chances) <= _MAX_LEVELS and np.isfinite(chances).all(), "its levels are none"
    )
    edges_up_to = cursor.array("<i4", len(chances) + 1).astype(np.int64)
    links = int(edges_up_to[1]) // 2 if len(chances) else 0
    expected = [0, *(links * (level + 2) for level in range(len(chances)))]
    cursor.require(0 < links <= 1024 and edges_up_to.tolist() == expected, "its levels are none")
    levels = cursor.array("<i4", rows).astype(np.int64)  # (rows,), how many a vertex is on
    cursor.require(((levels >= 1) & (levels <= len(chances))).all(), "a vertex is on no level")
    edges = edges_up_to[levels]  # (rows,), how many a vertex has room for
    offsets = cursor.array("<u8", rows + 1)
    cursor.require((offsets == np.append(0, np.cumsum(edges))).all(), "its edges overlap")
    neighbours = cursor.array("<i4", int(edges.sum()))
    cursor.require(((neighbours >= -1) & (neighbours < rows)).all(), "an edge leads to no vertex")
    _require_levels(cursor, edges_up_to, edges, levels, neighbours)
    entry, highest, *_ = cursor.take("iiiii")
    is_entry = 0 <= entry < rows and highest == levels[entry] - 1 == levels.max() - 1
    cursor.require(is_entry, "it cannot be entered")
    cursor.require(np.array_equal(cursor.flat(*vectors.shape), vectors), "its vectors are others")


def _require_levels(
    cursor: _Cursor, edges_up_to: Ints, edges: Ints, levels: Ints, neighbours: Array
) -> None:
    """Raise ValueError unless what an edge of a level leads to is on that level, too: it would be
    left by edges that it has no room for."""
    owners = np.repeat(np.arange(len(edges)), edges)
    places = np.arange(len(neighbours)) - (np.cumsum(edges) - edges)[owners]
    of_level = np.searchsorted(edges_up_to, places, side="right") - 1
    is_edge = neighbours >= 0
    reached = levels[np.where(is_edge, neighbours, 0)]
    cursor.require((~is_edge | (reached > of_level)).all(), "an edge leaves its level")


def _require_cells(cursor: _Cursor, vectors: Floats) -> None:
    rows, dimension = vectors.shape
    cells, _ = cursor.take("QQ")
    cursor.require(0 < cells <= rows, "its cells are none")
    cursor.flat(cells, dimension)  # their centres
    cursor.expect("BQ", 0, 0)  # no map from rows to places
    cursor.require(cursor.word() == b"ilar", "its lists are of another kind")
    cursor.expect("QQ", cells, 4 * dimension)
    met = np.zeros(rows, np.bool_)
    for size in _sizes(cursor, cells):
        listed = cursor.bare("<f4", size * dimension).reshape(size, dimension)
        ids = cursor.bare("<i8", size)
        cursor.require(((ids >= 0) & (ids < rows)).all(), "a list names no row")
        cursor.require(np.array_equal(vectors[ids], listed), "its vectors are others")
        met[ids] = True
    cursor.require(met.all(), "a row is in no list")


def _sizes(cursor: _Cursor, cells: int) -> list[int]:
    """How many rows each list holds; of many that are empty only the others are named."""
    kind = cursor.word()
    if kind == b"full":
        sizes = cursor.array("<u8", cells)
    else:
        cursor.require(kind == b"sprs", "its lists are of another kind")
        pairs = cursor.array("<u8").reshape(-1, 2)  # (lists that hold something, 2): number, size
        numbers = pairs[:, 0].astype(np.int64)
        in_order = (np.diff(numbers) > 0).all() and (numbers >= 0).all() and (numbers < cells).all()
        cursor.require(in_order, "its lists are in no order")
        sizes = pairs[:, 1]
    cursor.require(int(sizes.sum(dtype=np.float64)) <= 2**53, "its lists are too long")
    return [int(size) for size in sizes]


_BODIES = {b"IHNf": _require_graph, b"IwFl": _require_cells}
