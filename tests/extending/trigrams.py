"""Lexical search that forgives spelling: titles that share letters, three at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from gloss.arrays import require_positive, top_rows
from gloss.artifacts import Artifact, Draft
from gloss.data.catalogue import Catalogue
from gloss.progress import Progress, silent
from gloss.retrieval.retriever import Hit, RetrieverSpec, StoredRetriever
from gloss.retrieval.settings import IndexSettings


class TrigramSettings(IndexSettings):
    retriever: str = "trigrams"
    above: float = Field(0.3, ge=0, lt=1, description="Trigrams: similarity that is not enough.")


class Trigrams:
    """score(text, title) = 2 · common trigrams / (trigrams of the text + trigrams of the title)."""

    def __init__(self, catalogue: Catalogue, settings: TrigramSettings) -> None:
        self._catalogue = catalogue
        self._above = settings.above
        titles = [trigrams(item.title) for item in catalogue]
        self._sizes = np.array([len(each) for each in titles])  # (items,)
        self._rows: dict[str, list[int]] = defaultdict(list)
        for row, each in enumerate(titles):
            for trigram in each:
                self._rows[trigram].append(row)

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        require_positive(k)
        return [self._hits(trigrams(text), k) for text in texts]

    def _hits(self, wanted: set[str], k: int) -> tuple[Hit, ...]:
        shared = [row for trigram in wanted for row in self._rows.get(trigram, ())]
        common = np.bincount(np.array(shared, dtype=np.int64), minlength=len(self._sizes))
        scores = 2 * common / np.maximum(1, len(wanted) + self._sizes)  # (items,)
        rows = top_rows(scores, k, above=self._above).tolist()  # best first, ties by row
        return tuple(Hit(self._catalogue[row].id, row, float(scores[row])) for row in rows)

    def save(self, draft: Draft) -> None:
        """Nothing to save: an index holds the titles, and trigrams are made of these."""


def trigrams(text: str) -> set[str]:
    """
    >>> sorted(trigrams("Kite"))
    [' ki', 'ite', 'kit', 'te ']
    """
    letters = "".join(c if c.isalnum() else " " for c in text.lower())
    return {f" {word} "[i : i + 3] for word in letters.split() for i in range(len(word))}


def build(
    catalogue: Catalogue,
    settings: TrigramSettings,
    *,
    previous: StoredRetriever | None = None,
    progress: Progress = silent,
) -> Trigrams:
    return Trigrams(catalogue, settings)


def load(artifact: Artifact, catalogue: Catalogue, settings: TrigramSettings) -> Trigrams:
    return Trigrams(catalogue, settings)


SPEC = RetrieverSpec(
    name="trigrams", label="Trigrams", settings=TrigramSettings, build=build, load=load
)
