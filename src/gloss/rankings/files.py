"""Rankings on disk: one row a user, whoever made them.

ranking.parquet      user, items, scores, queries, because

queries are the generated titles that led to the items, because the bought items; null where none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl

from gloss.artifacts import Artifact, creating, open_artifact, write_atomic
from gloss.rankings.ranking import Ranking
from gloss.rankings.table import COLUMNS, RankingTable

__all__ = ["KIND", "load_rankings", "save_rankings"]

KIND = "ranking"

_FILE = "ranking.parquet"
_USER = {"user": pl.String}


def save_rankings(
    path: Path,
    rankings: Sequence[Ranking],
    *,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    summary: Mapping[str, Any],
    beside: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write rankings as the artefact `path`; users with an empty list are kept.

    The summary is given "users" and "users without a list" besides what is passed in. beside: text
    files that lie with the lists, by name.
    """
    lists = RankingTable.of(rankings)
    with creating(path, kind=KIND, config=config, inputs=inputs) as draft:
        _frame(lists).write_parquet(draft.path / _FILE)
        for name, text in beside.items():
            write_atomic(draft.path / name, text.encode())
        empty = int((lists.lengths == 0).sum())
        draft.summary.update({"users": len(lists), "users without a list": empty, **summary})


def load_rankings(path: Path) -> tuple[Artifact, RankingTable]:
    """Open the folder that `gloss rank` or `gloss baseline` made; ArtifactError if not whole."""
    artifact = open_artifact(path, KIND)
    frame = pl.read_parquet(artifact.path / _FILE, glob=False)
    lengths = frame["items"].list.len().to_numpy().astype("int64")
    # An empty list would be an entry of nulls.
    filled = frame.filter(pl.Series(lengths > 0))
    entries = pl.DataFrame({name: filled[name].explode() for name in COLUMNS}, schema=COLUMNS)
    return artifact, RankingTable(tuple(frame["user"].to_list()), lengths, entries)


def _frame(lists: RankingTable) -> pl.DataFrame:
    """One row a user."""
    flat = lists.entries.with_columns(pl.Series("row", lists.rows, pl.UInt32))
    users = pl.DataFrame({"user": lists.users}, schema=_USER)
    grouped = flat.group_by("row", maintain_order=True).agg(*COLUMNS)
    return (
        users.with_row_index("row")
        .join(grouped, on="row", how="left", maintain_order="left")
        .select("user", pl.col(*COLUMNS).fill_null([]))
    )
