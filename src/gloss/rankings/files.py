"""Rankings on disk: the artefact of the kind "ranking", whichever ranker made it.

ranking.parquet, one row a user:

    user     string
    items    list of strings, best first
    scores   list of floats             ┐
    queries  list of strings or null    │ one element for each item, see `RankedItem`
    because  list of strings or null    ┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import polars as pl

from gloss.arrays import Ints
from gloss.artifacts import Artifact, Draft, read_artifact, write_atomic
from gloss.artifacts.content import finite, parquet_rows, require
from gloss.artifacts.content import read_table as read_parquet
from gloss.rankings.ranking import Ranking
from gloss.rankings.table import COLUMNS, RankingTable

__all__ = [
    "KIND",
    "load_rankings",
    "read_parts",
    "read_rows",
    "read_table",
    "write_in_parts",
    "write_rankings",
]

KIND = "ranking"

_FILE = "ranking.parquet"
_ROW_GROUP = 1 << 15
_BATCH_USERS = 1 << 17
_USER = {"user": pl.String}
_LISTS = {name: pl.List(kind) for name, kind in COLUMNS.items()}


def write_rankings(
    draft: Draft,
    rankings: Sequence[Ranking],
    *,
    summary: Mapping[str, Any] = MappingProxyType({}),
    extra_files: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Fill the draft of a ranking; users with an empty list are kept.

    The summary holds "users" and "users without a list" besides what is passed in. extra_files:
    text files of the artefact, name -> content.
    """
    table = RankingTable.of(rankings)
    _one_row_a_user(table).write_parquet(draft.path / _FILE)
    for name, text in extra_files.items():
        write_atomic(draft.path / name, text.encode())
    empty = int((table.lengths == 0).sum())
    draft.summary.update({"users": len(table), "users without a list": empty, **summary})


def write_in_parts(draft: Draft, parts: Iterable[RankingTable]) -> None:
    """The same for lists that come some users at a time, of which one part is held at once; the
    bytes depend on where the parts end."""
    users = empty = 0
    with TemporaryDirectory(prefix="gloss-") as folder:
        frames = [pl.LazyFrame(schema={**_USER, **_LISTS})]
        for number, part in enumerate(parts):
            file = Path(folder) / f"{number}.parquet"
            _one_row_a_user(part).write_parquet(file)
            frames.append(pl.scan_parquet(file, glob=False))
            users, empty = users + len(part), empty + int((part.lengths == 0).sum())
        pl.concat(frames).sink_parquet(draft.path / _FILE, row_group_size=_ROW_GROUP)
    draft.summary.update({"users": users, "users without a list": empty})


def load_rankings(path: Path) -> tuple[Artifact, RankingTable]:
    """Open a ranking. Raises ArtifactError if it is not whole."""
    return read_artifact(path, KIND, lambda artifact: (artifact, _table_in(artifact)))


def read_table(ranking: Artifact) -> RankingTable:
    """The lists of a ranking that was opened, and so checked, before.

    Raises BeingReplacedError if another version stands there by now.
    """
    with ranking.reading():
        return _table_in(ranking)


def read_parts(ranking: Artifact) -> Iterator[RankingTable]:
    """The same, `_BATCH_USERS` users at a time, which alone are held."""
    with ranking.reading():
        users = parquet_rows(ranking.file(_FILE))
        for first in range(0, users, _BATCH_USERS):
            yield _table_in(ranking, first=first, count=_BATCH_USERS)


def read_rows(ranking: Artifact, choose: Callable[[int], Ints]) -> RankingTable:
    """The lists of some users, which alone are held.

    choose: given how many users there are, the numbers of some, int64, ascending.
    """
    with ranking.reading():
        return _table_in(ranking, rows=choose(parquet_rows(ranking.file(_FILE))))


def _table_in(
    artifact: Artifact, *, first: int = 0, count: int | None = None, rows: Ints | None = None
) -> RankingTable:
    file = artifact.file(_FILE)
    optional = ("queries", "because")
    frame = read_parquet(
        file, _USER | _LISTS, optional=optional, first=first, count=count, rows=rows
    )
    lengths = frame["items"].list.len().to_numpy().astype("int64")
    for name in COLUMNS:
        of_column = frame[name].list.len().to_numpy()
        require(bool((of_column == lengths).all()), file, f"{name!r} are not as many as items")
    # Exploding an empty list would make an entry of nulls.
    filled = frame.filter(pl.Series(lengths > 0))
    entries = pl.DataFrame({name: filled[name].explode() for name in COLUMNS}, schema=COLUMNS)
    finite(entries["scores"].to_numpy(), file)
    return RankingTable(tuple(frame["user"].to_list()), lengths, entries)


def _one_row_a_user(table: RankingTable) -> pl.DataFrame:
    entries = table.entries.with_columns(pl.Series("row", table.rows, pl.UInt32))
    lists = entries.group_by("row", maintain_order=True).agg(*COLUMNS)
    users = pl.DataFrame({"user": table.users}, schema=_USER).with_row_index("row")
    # Users with an empty list have no entry to be grouped: the join gives them nulls.
    return users.join(lists, on="row", how="left", maintain_order="left").select(
        "user", pl.col(*COLUMNS).fill_null([])
    )
