"""Histories that a teacher goes on with: what a model from zero learns of rankers that know better.

A document of an epoch is a random part of a history, and behind it some titles that the teacher
draws one after the other, each given the history and those before it:

    history a b c d        ->        b c | x y z        loss on x, y and z

So the model learns the teacher's distribution by samples, also where nobody's purchase is known
(Kim and Rush, Sequence-Level Knowledge Distillation, EMNLP 2016, arXiv 1606.07947). The teacher
knows the histories by heart in part, so most titles are drawn where it cannot: half of the parts
end where the history does, and from the second title on a drawn one stands before.

Knows rows of items; who teaches is the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from gloss.arrays import Ints
from gloss.config import Distillation
from gloss.data.histories import History
from gloss.language.packing import Document
from gloss.language.scratch.documents import Documents
from gloss.language.scratch.packed_training import DocumentsOfEpoch

__all__ = ["Teacher", "with_teacher"]

_WHOLE = 0.5
"""Share of the parts of histories that end where the history ends; others end anywhere."""

_LATE = 0.5
"""Share of those that begin at a random purchase."""

_LONGEST = 20
"""Purchases of a part at most."""


class Teacher(Protocol):
    """Says how histories may go on."""

    def draw(self, histories: Sequence[Ints], titles: int, *, seed: Sequence[int]) -> Ints:
        """int64 (histories, titles): items drawn one after the other behind each history.

        histories: rows of items, at least one each. The same seed draws the same items.
        """
        ...


def with_teacher(
    read: DocumentsOfEpoch,
    documents: Documents,
    histories: Sequence[History],
    teacher: Teacher,
    settings: Distillation,
    *,
    seed: int,
) -> DocumentsOfEpoch:
    """A share of an epoch's documents as they are, and a part of each history with titles of the
    teacher's behind it."""
    rows = [documents.rows_of(history.items) for history in histories if history.items]

    def documents_of(epoch: int) -> list[Document]:
        rng = np.random.default_rng((seed, epoch, 2))
        as_they_are = read(epoch)
        kept = rng.random(len(as_they_are)) < settings.histories
        parts = _parts(rows, rng)
        titles = teacher.draw(parts, settings.titles, seed=(seed, epoch))
        return [
            *(document for document, keep in zip(as_they_are, kept, strict=True) if keep),
            *documents.continued(parts, titles),
        ]

    return documents_of


def _parts(rows: Sequence[Ints], rng: np.random.Generator) -> list[Ints]:
    """A random run of each history's purchases, at least one."""
    counts = np.array([len(each) for each in rows])
    ends = np.where(
        rng.random(len(rows)) < _WHOLE, counts, 1 + (rng.random(len(rows)) * counts).astype(int)
    )
    begins = np.maximum(0, ends - _LONGEST)
    late = begins + (rng.random(len(rows)) * (ends - begins)).astype(int)
    begins = np.where(rng.random(len(rows)) < _LATE, late, begins)
    return [each[begin:end] for each, begin, end in zip(rows, begins, ends, strict=True)]
