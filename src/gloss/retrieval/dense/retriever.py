"""Dense search: the items whose titles are nearest in the space of a sentence encoder.

Every distinct title is encoded once, and equal titles have one vector, so their items tie exactly.
A query that is a title of the catalogue is not encoded again where the encoder reads queries and
documents with the same prefix. Knows catalogues; no users.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gloss.arrays import Floats, require_positive
from gloss.artifacts import Artifact, Draft
from gloss.artifacts.content import read_array
from gloss.data.catalogue import Catalogue
from gloss.errors import ArtifactError
from gloss.progress import Progress, silent
from gloss.retrieval.dense.approximate import Approximate, neighbours_of
from gloss.retrieval.dense.encoders import Encoder, Role, open_encoder
from gloss.retrieval.dense.nearest import Exhaustive, Nearest
from gloss.retrieval.lexical.bm25 import MARKER
from gloss.retrieval.retriever import Hit, RetrieverSpec, StoredRetriever
from gloss.retrieval.settings import DenseSettings, EncoderSettings

__all__ = ["SPEC", "Dense", "TitleVectors", "encoder_fingerprint"]

_VECTORS = "vectors.npy"
_NEIGHBOURS = "neighbours.faiss"


class TitleVectors:
    """The vectors of a catalogue's distinct titles, and of any other text.

    vectors: float32 (distinct titles, dimension), in the order of `titles`.
    """

    def __init__(
        self, titles: Sequence[str], vectors: Floats, encoder: Encoder, settings: EncoderSettings
    ) -> None:
        self.vectors = vectors
        self._encoder = encoder
        self._marker = MARKER if settings.marker else ""
        self._prefixes = settings.prefixes
        self._row_of = {title: row for row, title in enumerate(titles)}  # of `vectors`

    @classmethod
    def encoded(
        cls,
        titles: Sequence[str],
        encoder: Encoder,
        settings: EncoderSettings,
        *,
        known: TitleVectors | None = None,
        progress: Progress = silent,
    ) -> TitleVectors:
        """Encode the titles, except those whose vectors are known from an index of such settings.

        With known titles a, b and the titles b, c, a to encode, only c is encoded:

            known.vectors and the new ones    a b c
            rows of the titles in these       1 2 0      # b, c, a
        """
        empty = known.vectors[:0] if known else np.zeros((0, 0), dtype=np.float32)
        made = cls(titles, empty, encoder, settings)
        row_of = dict(known._row_of) if known else {}
        new = [title for title in titles if title not in row_of]
        vectors = made._encode(new, "document", progress) if new else empty
        if known:
            vectors = np.concatenate([known.vectors, vectors])
            row_of |= {title: len(row_of) + number for number, title in enumerate(new)}
            vectors = vectors[[row_of[title] for title in titles]]
        made.vectors = vectors
        return made

    def starts_with(self, others: TitleVectors) -> bool:
        """Whether the others' titles stand first, in their order."""
        return [*self._row_of][: len(others._row_of)] == [*others._row_of]

    def of_documents(self, titles: Sequence[str]) -> Floats:
        """float32 (titles, dimension): the vectors to be found."""
        return self._encode(titles, "document")

    def of_queries(self, texts: Sequence[str]) -> Floats:
        """float32 (texts, dimension): the vectors to search with."""
        row_of = self._row_of if self._queries_are_documents() else {}
        new = [text for text in texts if text not in row_of]
        vectors = np.empty((len(texts), self.vectors.shape[1]), dtype=np.float32)
        made = self._encode(new, "query") if new else vectors[:0]
        if made.shape[1] != vectors.shape[1]:
            raise ArtifactError(
                f"the index holds vectors of {vectors.shape[1]} numbers, its encoder makes "
                f"{made.shape[1]}: make it again with gloss index"
            )
        encoded = iter(made)
        for number, text in enumerate(texts):
            vectors[number] = self.vectors[row_of[text]] if text in row_of else next(encoded)
        return vectors

    def _queries_are_documents(self) -> bool:
        """Whether the encoder reads a text alike in both roles."""
        prefixes = self._encoder.prefixes
        return not self._prefixes or prefixes.query == prefixes.document

    def _encode(self, texts: Sequence[str], role: Role, progress: Progress = silent) -> Floats:
        marked = [self._marker + text for text in texts]
        return self._encoder.encode(marked, role=role, prefixes=self._prefixes, progress=progress)


class Dense:
    """A dense retriever over vectors in memory; make one with `build` or `load`."""

    def __init__(self, catalogue: Catalogue, vectors: TitleVectors, nearest: Nearest) -> None:
        self._catalogue = catalogue
        self._vectors = vectors
        self._nearest = nearest

    @classmethod
    def build(
        cls,
        catalogue: Catalogue,
        settings: DenseSettings,
        *,
        encoder: Encoder | None = None,
        previous: Dense | None = None,
        progress: Progress = silent,
    ) -> Dense:
        """Encode the titles and index their vectors.

        encoder: instead of opening the one that the settings name. previous: an index of the same
        settings. Titles that it knows are not encoded again, and where they stand first a
        copy of its FAISS index grows instead of one being built anew.
        """
        vectors = TitleVectors.encoded(
            catalogue.titles,
            encoder or open_encoder(settings.encoder),
            settings,
            known=previous._vectors if previous else None,
            progress=progress,
        )
        grows = previous is not None and vectors.starts_with(previous._vectors)
        nearest = neighbours_of(
            vectors.vectors,
            settings.neighbours,
            previous=previous._nearest if previous and grows else None,
        )
        return cls(catalogue, vectors, nearest)

    @property
    def title_vectors(self) -> Floats:
        """See `HasTitleVectors`."""
        return self._vectors.vectors

    def save(self, draft: Draft) -> None:
        """Write the vectors, and the FAISS index if there is one, into an index artefact."""
        np.save(draft.path / _VECTORS, self.title_vectors, allow_pickle=False)
        if isinstance(self._nearest, Approximate):
            self._nearest.save(draft.path / _NEIGHBOURS)

    @classmethod
    def load(cls, artifact: Artifact, catalogue: Catalogue, settings: DenseSettings) -> Dense:
        """Read what `save` wrote; ValueError for anything else."""
        shape = len(catalogue.titles), None
        vectors = read_array(artifact.file(_VECTORS), dtype=np.float32, shape=shape)
        nearest: Nearest = Exhaustive(vectors)
        if _NEIGHBOURS in artifact.files:
            nearest = Approximate.load(artifact.file(_NEIGHBOURS), vectors)
        encoder = open_encoder(settings.encoder)
        return cls(catalogue, TitleVectors(catalogue.titles, vectors, encoder, settings), nearest)

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        """See `Retriever.search`. Scores are cosines; a cosine of 0 or less finds nothing.

        An encoder knows every word: only an empty or blank text finds nothing.
        """
        require_positive(k)
        distinct = [text for text in dict.fromkeys(texts) if text.strip()]
        if not distinct:
            return [()] * len(texts)
        titles, scores = self._nearest.search(self._vectors.of_queries(distinct), k)  # (texts, <=k)
        hits = {
            text: self._hits(numbers, values, k)
            for text, numbers, values in zip(
                distinct, titles.tolist(), scores.tolist(), strict=True
            )
        }
        return [hits.get(text, ()) for text in texts]

    def _hits(self, titles: Sequence[int], scores: Sequence[float], k: int) -> tuple[Hit, ...]:
        best = sorted(self._keys(titles, scores))[:k]
        return tuple(Hit(self._catalogue[row].id, row, -negated) for negated, row in best)

    def _keys(self, titles: Sequence[int], scores: Sequence[float]) -> Iterator[tuple[float, int]]:
        """(-score, row) of every item whose title was found: sorted, they are in our order."""
        for number, score in zip(titles, scores, strict=True):
            if score > 0:
                for row in self._catalogue.rows_of_title(self._catalogue.titles[number]):
                    yield -score, row


def encoder_fingerprint(settings: EncoderSettings) -> Mapping[str, str]:
    """What an index of vectors is bound to. Raises what `open_encoder` raises; loads nothing."""
    return {"encoder": open_encoder(settings.encoder).fingerprint}


def _build(
    catalogue: Catalogue,
    settings: DenseSettings,
    *,
    previous: StoredRetriever | None,
    progress: Progress,
) -> Dense:
    old = previous if isinstance(previous, Dense) else None
    return Dense.build(catalogue, settings, previous=old, progress=progress)


SPEC = RetrieverSpec(
    name="dense",
    label="{encoder}",
    settings=DenseSettings,
    build=_build,
    load=Dense.load,
    inputs=encoder_fingerprint,
    published_fusion="last",
)
