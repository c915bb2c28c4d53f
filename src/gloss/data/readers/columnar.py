"""Tables whose columns have types: Parquet, Feather, Excel, folders that `datasets` saved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from polars.exceptions import PanicException, PolarsError

from gloss.data.readers.lines import input_errors, on_one_line
from gloss.data.readers.raw import RawTable, Request
from gloss.errors import InputError, require_extra

__all__ = ["is_saved_dataset", "parts_of_dataset", "read_excel", "read_feather", "read_parquet"]

_FAULTS = (PolarsError, PanicException)  # some flipped bytes make polars panic


def read_parquet(path: Path, request: Request) -> RawTable:
    """One Parquet file, lazily."""
    with input_errors(path):
        try:
            names = list(pl.read_parquet_schema(path))
            frame = pl.scan_parquet(path, glob=False).select(request.chosen(names, path))
            frame.head(1).collect()
        except _FAULTS as error:
            raise InputError(f"{path} is not a whole Parquet file: {on_one_line(error)}") from None
    return RawTable(path, frame, False, "Parquet")


def read_feather(path: Path, request: Request) -> RawTable:
    """One Feather file (Arrow IPC), or a stream as `datasets` writes them."""
    with input_errors(path):
        try:
            frame = _arrow(path)
            frame = frame.select(request.chosen(frame.collect_schema().names(), path))
            frame.head(1).collect()
        except _FAULTS as error:
            raise InputError(f"{path} is not a whole Feather file: {on_one_line(error)}") from None
    return RawTable(path, frame, False, "Arrow")


def _arrow(path: Path) -> pl.LazyFrame:
    with path.open("rb") as file:
        is_file = file.read(6) == b"ARROW1"
    return pl.scan_ipc(path) if is_file else pl.read_ipc_stream(path).lazy()


def read_excel(path: Path, request: Request) -> RawTable:
    """All sheets of a workbook that have the columns, one after the other."""
    require_extra("Reading Excel files", "tables", "fastexcel")
    with input_errors(path):
        try:
            sheets = pl.read_excel(path, sheet_id=0, engine="calamine", infer_schema_length=None)
        except Exception as error:  # calamine and polars raise what they like
            raise InputError(f"{path} is not a whole workbook: {on_one_line(error)}") from None
    fitting = [frame for frame in sheets.values() if set(request.needed) <= set(frame.columns)]
    first = next(iter(sheets.values()))
    names = request.chosen((fitting or [first])[0].columns, path)
    frames = [frame.select(names) for frame in fitting]
    described = f"Excel, {len(frames)} of {len(sheets)} sheets"
    frame = pl.concat(frames, how="vertical_relaxed").lazy()
    return RawTable(path, frame, False, described, _below_head)


def _below_head(rows: Sequence[int]) -> list[int]:
    return [row + 2 for row in rows]


def is_saved_dataset(folder: Path) -> bool:
    """Whether `Dataset.save_to_disk` or `DatasetDict.save_to_disk` has written this folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def parts_of_dataset(folder: Path) -> list[Path]:
    """The Arrow files of a saved data set, all splits in their order."""
    splits = folder / "dataset_dict.json"
    if splits.is_file():
        names = json.loads(splits.read_text("utf-8"))["splits"]
        return [part for name in names for part in parts_of_dataset(folder / name)]
    state = json.loads((folder / "state.json").read_text("utf-8"))
    return [folder / each["filename"] for each in state["_data_files"]]
