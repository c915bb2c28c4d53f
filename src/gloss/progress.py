"""How long work reports how far it is. The library calls it; only the command line draws it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "part_of", "silent"]


class Progress(Protocol):
    """Called as work goes on."""

    def __call__(self, done: int, total: int | None, /, note: str = "") -> None:
        """`done` of `total` units are finished (total None: unknown); `note` is for the reader."""


def silent(done: int, total: int | None, /, note: str = "") -> None:
    """Report nothing."""


def part_of(progress: Progress, number: int, parts: int) -> Progress:
    """Progress of part `number` (from 0) of `parts` equal ones, reported as progress of the whole.

    >>> def show(done, total, note=""): print(f"{done} of {total}")
    >>> part_of(show, 1, 4)(50, 100)  # half of the second quarter
    37 of 100
    """

    def report(done: int, total: int | None, note: str = "") -> None:
        if total is None:
            progress(done, None, note)
        else:
            progress((number * total + done) // parts, total, note)

    return report
