"""Options that several commands share, so that they read and mean the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = [
    "BaseFolder",
    "Data",
    "Json",
    "LimitUsers",
    "Out",
    "ProtocolName",
    "SplitOf",
    "SplitRuleName",
]

Out = Annotated[Path, typer.Option("-o", "--out", help="The folder to write.")]
Data = Annotated[Path, typer.Option("-d", "--data", help="A data set made by `gloss prepare`.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
LimitUsers = Annotated[
    int | None, typer.Option("--limit-users", min=1, help="Only the first N users.")
]
BaseFolder = Annotated[
    Path | None,
    typer.Option("--base", help="The folder of an adapter's base model (default: found by name)."),
]
ProtocolName = Annotated[
    Literal["fair", "paper"],
    typer.Option("--protocol", help="fair: what we recommend; paper: what the paper did."),
]
SplitRuleName = Annotated[
    Literal["paper", "leave-one-out"],
    typer.Option("--split", help="Who trains on what; see docs/protocol.md."),
]
SplitOf = Annotated[
    Literal["validation", "test"], typer.Option("--split", help="Which questions to ask.")
]
