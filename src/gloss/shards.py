"""Work in shards, and the seam of who does it: this process, or a cluster (`gloss.scale`).

Whoever does it returns what was made to the process that began it. That one alone writes files, so
that a shard that is done twice, by a worker that was thought dead, say, is there once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from gloss.progress import Progress, further, silent

__all__ = ["HERE", "Shard", "ThisProcess", "Work", "Workers", "in_order", "shards_of"]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Shard(Generic[T]):
    """A part of the work: its number among all parts, from 0 on, and what there is to do."""

    number: int
    content: Sequence[T]


class Work(Protocol[T_contra, R_co]):
    """What is done with the content of every shard.

    It is pickled to be done elsewhere: what it opens (a model, say) it opens when it is first
    called, and leaves behind when it is pickled.
    """

    def __call__(self, content: Sequence[T_contra], progress: Progress, /) -> R_co:
        """What is made of a shard: equal shards make equal things, wherever they are done."""


class Workers(Protocol):
    """Who does the work."""

    def map(
        self, work: Work[T, R], shards: Sequence[Shard[T]], *, progress: Progress = silent
    ) -> Iterator[tuple[Shard[T], R]]:
        """Every shard once, with what the work makes of it, as soon as it is done: in any order.

        progress: called with the number of units done and of all units in these shards.
        """


class ThisProcess:
    """Does one shard after the other, here."""

    def map(
        self, work: Work[T, R], shards: Sequence[Shard[T]], *, progress: Progress = silent
    ) -> Iterator[tuple[Shard[T], R]]:
        """See `Workers.map`."""
        total, done = sum(len(shard.content) for shard in shards), 0
        for shard in shards:
            behind = total - done - len(shard.content)
            made = work(shard.content, further(progress, done, behind))
            done += len(shard.content)
            yield shard, made
            progress(done, total)


HERE = ThisProcess()


def shards_of(units: Sequence[T], size: int) -> list[Shard[T]]:
    """Shards of `size` units; the last has what is left.

    >>> [list(shard.content) for shard in shards_of("abcde", 2)]
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    starts = range(0, len(units), size)
    return [Shard(number, units[first : first + size]) for number, first in enumerate(starts)]


def in_order(made: Iterable[tuple[Shard[T], R]]) -> Iterator[R]:
    """What was made of shards 0, 1, 2 …, in their order; what comes early is kept until its turn.

    >>> first, second = shards_of("ab", 1)
    >>> list(in_order([(second, "B"), (first, "A")]))
    ['A', 'B']
    """
    early: dict[int, R] = {}
    number = 0
    for shard, result in made:
        early[shard.number] = result
        while number in early:
            yield early.pop(number)
            number += 1
