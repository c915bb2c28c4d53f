"""How long work reports its progress. The library calls it; only the command line draws it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "further", "part_of", "silent"]


class Progress(Protocol):
    """Called as work goes on."""

    def __call__(self, done: int, total: int | None, /, note: str = "") -> None:
        """`done` of `total` units are finished (total None: unknown); `note` is for the reader."""


def silent(done: int, total: int | None, /, note: str = "") -> None:
    """Say nothing."""


def part_of(progress: Progress, number: int, parts: int) -> Progress:
    """Progress of one of several equal parts, reported as progress of the whole."""

    def report(done: int, total: int | None, note: str = "") -> None:
        if total is None:
            progress(done, None, note)
        else:
            progress((number * total + done) // parts, total, note)

    return report


def further(progress: Progress, before: int, behind: int) -> Progress:
    """Progress of units that have others before and behind them, reported as progress of all."""

    def report(done: int, total: int | None, note: str = "") -> None:
        progress(before + done, None if total is None else before + total + behind, note)

    return report
