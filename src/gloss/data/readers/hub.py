"""Data sets of the Hugging Face hub by name, through the library `datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gloss.data.readers.lines import on_one_line
from gloss.errors import InputError, require_extra

__all__ = ["hub_table"]

_ROWS_AT_ONCE = 100_000


def hub_table(name: str, folder: Path) -> list[Path]:
    """All splits of a data set as Parquet files in `folder`.

    The name is OWNER/NAME, with :CONFIGURATION and @SPLIT if only these are wanted. Raises
    InputError when `datasets` cannot load it.
    """
    require_extra("Reading data sets of the hub", "tables", "datasets")
    name, _, split = name.partition("@")
    name, _, configuration = name.partition(":")
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[Path] = []
    for each, table in _splits(name, configuration or None, split or None).items():
        parts.append(folder / f"{len(parts):03}-{each}.parquet")
        table.to_parquet(str(parts[-1]), batch_size=_ROWS_AT_ONCE)
    return parts


def _splits(name: str, configuration: str | None, split: str | None) -> dict[str, Any]:
    import datasets

    try:
        loaded = datasets.load_dataset(name, configuration, split=split)
    except Exception as error:  # the library raises what the network and scripts raise
        raise InputError(f"hf://{name} cannot be loaded: {on_one_line(error)}") from None
    return {split: loaded} if split else dict(loaded)
