"""Rankings on disk: one row a user, whoever made them.

ranking.parquet      user, items, scores, queries, because

queries are the generated titles that led to the items, because the bought items; null where none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from gloss.artifacts import Artifact, creating, open_artifact, write_atomic
from gloss.retrieval.fusion import RankedItem, Ranking

__all__ = ["KIND", "load_rankings", "save_rankings"]

KIND = "ranking"

_FILE = "ranking.parquet"
_USER = {"user": pl.String}
_LISTS = {"items": pl.String, "scores": pl.Float64, "queries": pl.String, "because": pl.String}
"""What each list holds; in the order of the fields of a RankedItem."""


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
    with creating(path, kind=KIND, config=config, inputs=inputs) as draft:
        _frame(rankings).write_parquet(draft.path / _FILE)
        for name, text in beside.items():
            write_atomic(draft.path / name, text.encode())
        empty = sum(not ranking.entries for ranking in rankings)
        draft.summary.update({"users": len(rankings), "users without a list": empty, **summary})


def load_rankings(path: Path) -> tuple[Artifact, tuple[Ranking, ...]]:
    """Open the folder that `gloss rank` or `gloss baseline` made; ArtifactError if not whole."""
    artifact = open_artifact(path, KIND)
    frame = pl.read_parquet(artifact.path / _FILE, glob=False)
    columns = [frame[name].explode(empty_as_null=False).to_list() for name in _LISTS]
    entries = map(RankedItem._make, zip(*columns, strict=True))
    lengths = zip(frame["user"].to_list(), frame["items"].list.len().to_list(), strict=True)
    return artifact, tuple(Ranking(user, tuple(islice(entries, n))) for user, n in lengths)


def _frame(rankings: Sequence[Ranking]) -> pl.DataFrame:
    """One row a user. The lists are flat until polars has them: nested ones are slow to pass."""
    lengths = [len(ranking.entries) for ranking in rankings]
    entries = [entry for ranking in rankings for entry in ranking.entries]
    columns = {name: [entry[place] for entry in entries] for place, name in enumerate(_LISTS)}
    flat = pl.DataFrame(columns, schema=_LISTS).with_columns(
        pl.Series("row", np.repeat(np.arange(len(rankings)), lengths), pl.UInt32)
    )
    users = pl.DataFrame({"user": [ranking.user for ranking in rankings]}, schema=_USER)
    lists = flat.group_by("row", maintain_order=True).agg(*_LISTS)
    return (
        users.with_row_index("row")
        .join(lists, on="row", how="left", maintain_order="left")
        .select("user", pl.col(*_LISTS).fill_null([]))
    )
