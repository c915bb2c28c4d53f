"""Indexes: built from a catalogue, in memory or as an artefact, by their settings.

An index artefact is a catalogue with titles cleaned in one style, and what a retriever needs to
search it; its configuration is an `IndexSettings`:

    catalogue.parquet    item, title                  in row order
    data.npy, indices.npy, indptr.npy                 BM25: term scores, a column for each word
    vocabulary.json                                   BM25: word -> column
    vectors.npy                                       dense: one row a distinct title
    neighbours.faiss                                  dense, where the search is approximate

An index by meaning is bound to its encoder by fingerprint (input "encoder").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from gloss.artifacts import Artifact, Draft, creating, open_artifact
from gloss.data.catalogue import Catalogue, Item
from gloss.data.dataset import Dataset
from gloss.progress import Progress, silent
from gloss.retrieval.dense.encoders import Encoder, open_encoder
from gloss.retrieval.dense.retriever import Dense, TitleVectors
from gloss.retrieval.hybrid import Hybrid
from gloss.retrieval.lexical.bm25 import BM25
from gloss.retrieval.lexical.exact_titles import Exact, ExactFirst
from gloss.retrieval.retriever import IndexSettings, Retriever

__all__ = [
    "KIND",
    "Index",
    "Parts",
    "build_index",
    "encoder_input",
    "encoder_of",
    "load_index",
    "save_index",
    "write_index",
]

KIND = "index"

_CATALOGUE = "catalogue.parquet"


@dataclass(frozen=True, slots=True)
class Parts:
    """What an index searches with: words, meaning or both."""

    words: BM25 | None
    meaning: Dense | None

    @classmethod
    def built(
        cls,
        catalogue: Catalogue,
        settings: IndexSettings,
        encoder: Encoder | None,
        *,
        grown_from: Parts | None = None,
        progress: Progress = silent,
    ) -> Parts:
        """Index titles; those that an index made alike knows are not encoded again."""
        old = grown_from.meaning if grown_from else None
        words = BM25.build(catalogue, settings) if settings.by_words else None
        if encoder is None:
            return cls(words, None)
        vectors = TitleVectors.encoded(
            catalogue.titles,
            encoder,
            settings,
            known=old.vectors if old else None,
            progress=progress,
        )
        return cls(words, Dense.build(catalogue, vectors, settings, grown_from=old))

    @classmethod
    def loaded(
        cls, folder: Path, catalogue: Catalogue, settings: IndexSettings, encoder: Encoder | None
    ) -> Parts:
        """Read what `save` wrote."""
        words = BM25.load(folder, catalogue, settings) if settings.by_words else None
        return cls(words, Dense.load(folder, catalogue, settings, encoder) if encoder else None)

    def save(self, draft: Draft) -> None:
        """Write into an index artefact."""
        for part in (self.words, self.meaning):
            if part is not None:
                part.save(draft)

    def retriever(self, catalogue: Catalogue, settings: IndexSettings) -> Retriever:
        """The parts as one, with exact titles first where the settings say so."""
        found: Retriever
        if self.words and self.meaning:
            found = Hybrid(self.words, self.meaning, blend=settings.blend, weight=settings.weight)
        else:
            one = self.words or self.meaning
            assert one is not None
            found = one
        return ExactFirst(Exact(catalogue), found) if settings.exact_first else found


@dataclass(frozen=True, slots=True)
class Index:
    """An index read from disk, ready to search."""

    artifact: Artifact
    settings: IndexSettings
    catalogue: Catalogue
    retriever: Retriever
    parts: Parts

    @property
    def fingerprint(self) -> str:
        """What rankings made with this index are bound to."""
        return self.artifact.fingerprint


def build_index(
    catalogue: Catalogue, settings: IndexSettings, *, progress: Progress = silent
) -> Retriever:
    """A retriever over a catalogue in memory; `settings.title_style` is the caller's to keep.

    progress counts titles that were encoded. Raises InputError when no title holds a word to search
    for, and what `open_encoder` raises.
    """
    parts = Parts.built(catalogue, settings, encoder_of(settings), progress=progress)
    return parts.retriever(catalogue, settings)


def save_index(
    dataset: Dataset, path: Path, settings: IndexSettings, *, progress: Progress = silent
) -> None:
    """Index a data set's catalogue and write it as the artefact `path`.

    The summary holds the number of items and the fingerprint of the catalogue.
    """
    encoder = encoder_of(settings)
    inputs = {"dataset": dataset.fingerprint, **encoder_input(encoder)}
    catalogue = dataset.catalogue(settings.title_style)
    write_index(
        path,
        catalogue,
        settings,
        lambda: Parts.built(catalogue, settings, encoder, progress=progress),
        inputs=inputs,
    )


def write_index(
    path: Path,
    catalogue: Catalogue,
    settings: IndexSettings,
    parts: Callable[[], Parts],
    *,
    inputs: Mapping[str, str],
) -> None:
    """Write a catalogue and its parts, which are made only when the folder is ours, as `path`."""
    with creating(path, kind=KIND, config=asdict(settings), inputs=inputs) as draft:
        frame = pl.DataFrame(
            {"item": [i.id for i in catalogue], "title": [i.title for i in catalogue]}
        )
        frame.write_parquet(draft.path / _CATALOGUE)
        parts().save(draft)
        draft.summary.update({"items": len(catalogue), "catalogue": catalogue.fingerprint})


def load_index(path: Path) -> Index:
    """Open the folder that `gloss index` made.

    Raises ArtifactError if it is not whole or its encoder has changed since, and what
    `open_encoder` raises.
    """
    artifact = open_artifact(path, KIND)
    settings = IndexSettings(**artifact.config)
    encoder = encoder_of(settings)
    if encoder:
        artifact.require_input("encoder", encoder.fingerprint, f"the encoder {settings.encoder}")
    frame = pl.read_parquet(artifact.path / _CATALOGUE, glob=False)
    catalogue = Catalogue(Item(item, title) for item, title in frame.iter_rows())
    parts = Parts.loaded(artifact.path, catalogue, settings, encoder)
    return Index(artifact, settings, catalogue, parts.retriever(catalogue, settings), parts)


def encoder_of(settings: IndexSettings) -> Encoder | None:
    """The encoder that an index needs, if any; nothing is loaded yet. Raises as `open_encoder`."""
    return open_encoder(settings.encoder) if settings.by_meaning else None


def encoder_input(encoder: Encoder | None) -> dict[str, str]:
    """What an index is bound to besides its data."""
    return {"encoder": encoder.fingerprint} if encoder else {}
