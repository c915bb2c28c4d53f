"""Rankings on disk: one row a user, whoever made them.

ranking.parquet      user, items, scores, queries, because

queries are the generated titles that led to the items, because the bought items; null where none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from gloss.artifacts import Artifact, creating, open_artifact
from gloss.retrieval.fusion import RankedItem, Ranking

__all__ = ["KIND", "load_rankings", "save_rankings"]

KIND = "ranking"

_FILE = "ranking.parquet"
_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "user": pl.String,
    "items": pl.List(pl.String),
    "scores": pl.List(pl.Float64),
    "queries": pl.List(pl.String),
    "because": pl.List(pl.String),
}


def save_rankings(
    path: Path,
    rankings: Sequence[Ranking],
    *,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    summary: Mapping[str, Any],
) -> None:
    """Write rankings as the artefact `path`; users with an empty list are kept.

    The summary is given "users" and "users without a list" besides what is passed in.
    """
    with creating(path, kind=KIND, config=config, inputs=inputs) as draft:
        _frame(rankings).write_parquet(draft.path / _FILE)
        empty = sum(not ranking.entries for ranking in rankings)
        draft.summary.update({"users": len(rankings), "users without a list": empty, **summary})


def load_rankings(path: Path) -> tuple[Artifact, tuple[Ranking, ...]]:
    """Open the folder that `gloss rank` or `gloss baseline` made; ArtifactError if not whole."""
    artifact = open_artifact(path, KIND)
    rows = pl.read_parquet(artifact.path / _FILE, glob=False).iter_rows()
    return artifact, tuple(_ranking(*row) for row in rows)


def _frame(rankings: Sequence[Ranking]) -> pl.DataFrame:
    columns = {
        "user": [ranking.user for ranking in rankings],
        "items": [[entry.item for entry in ranking.entries] for ranking in rankings],
        "scores": [[entry.score for entry in ranking.entries] for ranking in rankings],
        "queries": [[entry.query for entry in ranking.entries] for ranking in rankings],
        "because": [[entry.because for entry in ranking.entries] for ranking in rankings],
    }
    return pl.DataFrame(columns, schema=_SCHEMA)


def _ranking(user: Any, *columns: list[Any]) -> Ranking:
    return Ranking(user, tuple(map(RankedItem, *columns)))
