"""How long work tells where it stands. The library calls it; only the command line draws it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "silent"]


class Progress(Protocol):
    """Called as work goes on."""

    def __call__(self, done: int, total: int | None, /, note: str = "") -> None:
        """`done` of `total` units are finished (total None: unknown); `note` is for the reader."""


def silent(done: int, total: int | None, /, note: str = "") -> None:
    """Say nothing."""
