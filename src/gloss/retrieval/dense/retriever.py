"""Search by meaning: the nearest titles in an encoder's space. Knows catalogues; no users.

Every distinct title is encoded once, and equal titles have one vector, so their items tie to the
letter. A text that is a title of the catalogue is not encoded again where queries and documents are
written alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from gloss.artifacts import Draft
from gloss.data.catalogue import Catalogue
from gloss.progress import Progress, silent
from gloss.retrieval.dense.approximate import Approximate, neighbours_of
from gloss.retrieval.dense.encoders import Encoder, Role, Vectors
from gloss.retrieval.dense.nearest import Exhaustive, Nearest, require_some
from gloss.retrieval.lexical.bm25 import MARKER
from gloss.retrieval.retriever import Hit, IndexSettings

__all__ = ["Dense", "TitleVectors"]

_VECTORS = "vectors.npy"
_NEIGHBOURS = "neighbours.faiss"
_NONE: Vectors = np.zeros((0, 0), dtype=np.float32)


class TitleVectors:
    """The vectors of a catalogue's distinct titles, and of any other text.

    vectors: float32 (distinct titles, dimension), in the order of `Catalogue.titles`.
    """

    def __init__(
        self, titles: Sequence[str], vectors: Vectors, encoder: Encoder, settings: IndexSettings
    ) -> None:
        self.vectors = vectors
        self._encoder = encoder
        self._marker = MARKER if settings.marker else ""
        self._prefixes = settings.prefixes
        self._places = {title: place for place, title in enumerate(titles)}

    @classmethod
    def encoded(
        cls,
        titles: Sequence[str],
        encoder: Encoder,
        settings: IndexSettings,
        *,
        known: TitleVectors | None = None,
        progress: Progress = silent,
    ) -> TitleVectors:
        """Encode the titles, but for those whose vectors are known from an index made alike."""
        made = cls(titles, known.vectors[:0] if known else _NONE, encoder, settings)
        places = dict(known._places) if known else {}
        new = [title for title in titles if title not in places]
        vectors = made._encode(new, "document", progress) if new else made.vectors
        if known:
            vectors = np.concatenate([known.vectors, vectors])
            places |= {title: len(places) + n for n, title in enumerate(new)}
            vectors = vectors[[places[title] for title in titles]]
        made.vectors = vectors
        return made

    def begin_with(self, others: TitleVectors) -> bool:
        """Whether the others' titles stand first, in their order."""
        return [*self._places][: len(others._places)] == [*others._places]

    def of_documents(self, titles: Sequence[str]) -> Vectors:
        """float32 (titles, dimension): the vectors to be found."""
        return self._encode(titles, "document")

    def of_queries(self, texts: Sequence[str]) -> Vectors:
        """float32 (texts, dimension): the vectors to search with."""
        known = self._places if self._written_alike() else {}
        new = [text for text in texts if text not in known]
        vectors = np.empty((len(texts), self.vectors.shape[1]), dtype=np.float32)
        encoded = iter(self._encode(new, "query") if new else ())
        for row, text in enumerate(texts):
            vectors[row] = self.vectors[known[text]] if text in known else next(encoded)
        return vectors

    def _written_alike(self) -> bool:
        prefixes = self._encoder.prefixes
        return not self._prefixes or prefixes.query == prefixes.document

    def _encode(self, texts: Sequence[str], role: Role, progress: Progress = silent) -> Vectors:
        marked = [self._marker + text for text in texts]
        return self._encoder.encode(marked, role=role, prefixes=self._prefixes, progress=progress)


class Dense:
    """A retriever by meaning; make one with `build` or `load`."""

    def __init__(self, catalogue: Catalogue, vectors: TitleVectors, nearest: Nearest) -> None:
        self.vectors = vectors
        self._catalogue = catalogue
        self._nearest = nearest

    @classmethod
    def build(
        cls,
        catalogue: Catalogue,
        vectors: TitleVectors,
        settings: IndexSettings,
        *,
        grown_from: Dense | None = None,
    ) -> Dense:
        """Search these vectors of the catalogue's titles.

        grown_from: an index that may know the first of them; a FAISS index is taken over from it,
        and grows, rather than built anew.
        """
        first = grown_from if grown_from and vectors.begin_with(grown_from.vectors) else None
        nearest = neighbours_of(
            vectors.vectors, settings.neighbours, grown_from=first._nearest if first else None
        )
        return cls(catalogue, vectors, nearest)

    def save(self, draft: Draft) -> None:
        """Write the vectors, and the FAISS index if there is one, into an index artefact."""
        np.save(draft.path / _VECTORS, self.vectors.vectors, allow_pickle=False)
        if isinstance(self._nearest, Approximate):
            self._nearest.save(draft.path / _NEIGHBOURS)

    @classmethod
    def load(
        cls, folder: Path, catalogue: Catalogue, settings: IndexSettings, encoder: Encoder
    ) -> Dense:
        """Read what `save` wrote."""
        vectors = np.load(folder / _VECTORS, allow_pickle=False)
        file = folder / _NEIGHBOURS
        nearest = Approximate.load(file) if file.is_file() else Exhaustive(vectors)
        return cls(catalogue, TitleVectors(catalogue.titles, vectors, encoder, settings), nearest)

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        """See `Retriever.search`. Scores are cosines; an item whose cosine is 0 or less is not
        found.

        An encoder knows every word: only a text without any character but spaces finds nothing.
        """
        require_some(k)
        distinct = [text for text in dict.fromkeys(texts) if text.strip()]
        if not distinct:
            return [()] * len(texts)
        near = self._nearest.search(self.vectors.of_queries(distinct), k)
        hits = {
            text: self._hits(places, scores, k)
            for text, places, scores in zip(distinct, *(a.tolist() for a in near), strict=True)
        }
        return [hits.get(text, ()) for text in texts]

    def _hits(self, places: Sequence[int], scores: Sequence[float], k: int) -> tuple[Hit, ...]:
        found = sorted(self._rows(places, scores))[:k]
        return tuple(Hit(self._catalogue[row].id, row, -minus) for minus, row in found)

    def _rows(self, places: Sequence[int], scores: Sequence[float]) -> Iterator[tuple[float, int]]:
        """(minus the score, row) of every item whose title was found."""
        titles = self._catalogue.titles
        for place, score in zip(places, scores, strict=True):
            if score > 0:
                for row in self._catalogue.rows_of_title(titles[place]):
                    yield -score, row
