"""The log of purchases: what every reader ends in, and what a data set is prepared from."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

__all__ = ["PurchaseLog", "Workspace"]


class Workspace:
    """A folder for what is too large for memory; it is removed when nobody holds it any more.

    It lies in the system's folder for temporary files (TMPDIR), never beside the output: a process
    that is killed leaves nothing there, and a container may write to nothing but its volume.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="gloss-"))
        self._remover = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class PurchaseLog:
    """Purchases and items as a reader found them, both in the order of their files.

    interactions: columns user (str), item (str), time (any sortable number); no nulls.
    items: columns item (str), title (str, null where there is none), and any others; an item may
    stand twice. counts: what the reader met on the way (lines, bad lines, …); described: how the
    files were understood; warnings: what the reader of the summary should look at; workspace:
    where the interactions lie, if they are not in memory.
    """

    interactions: pl.DataFrame | pl.LazyFrame
    items: pl.DataFrame
    counts: Mapping[str, int]
    described: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    workspace: Workspace | None = None
