"""Indexes: built from a catalogue, in memory or as an artefact, by their settings.

An index artefact is a catalogue with titles cleaned in one style, and what a retriever needs to
search it; its configuration is an `IndexSettings`:

    catalogue.parquet    item, title                  in row order
    data.npy, indices.npy, indptr.npy                 BM25: term scores, a column for each word
    vocabulary.json                                   BM25: word -> column
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from gloss.artifacts import Artifact, creating, open_artifact
from gloss.data.catalogue import Catalogue, Item
from gloss.data.dataset import Dataset
from gloss.retrieval.bm25 import BM25
from gloss.retrieval.exact import Exact, ExactFirst
from gloss.retrieval.index import IndexSettings, Retriever

__all__ = ["KIND", "Index", "build_index", "load_index", "save_index"]

KIND = "index"

_CATALOGUE = "catalogue.parquet"


@dataclass(frozen=True, slots=True)
class Index:
    """An index read from disk, ready to search."""

    artifact: Artifact
    settings: IndexSettings
    catalogue: Catalogue
    retriever: Retriever

    @property
    def fingerprint(self) -> str:
        """What rankings made with this index are bound to."""
        return self.artifact.fingerprint


def build_index(catalogue: Catalogue, settings: IndexSettings) -> Retriever:
    """A retriever over a catalogue in memory; `settings.title_style` is the caller's to keep.

    Raises InputError when no title holds a word to search for.
    """
    return _with_exact(BM25.build(catalogue, settings), catalogue, settings)


def save_index(dataset: Dataset, path: Path, settings: IndexSettings) -> None:
    """Index a data set's catalogue and write it as the artefact `path`.

    The summary holds the number of items and the fingerprint of the catalogue.
    """
    catalogue = dataset.catalogue(settings.title_style)
    inputs = {"dataset": dataset.fingerprint}
    with creating(path, kind=KIND, config=asdict(settings), inputs=inputs) as draft:
        frame = pl.DataFrame(
            {"item": [i.id for i in catalogue], "title": [i.title for i in catalogue]}
        )
        frame.write_parquet(draft.path / _CATALOGUE)
        BM25.build(catalogue, settings).save(draft)
        draft.summary.update({"items": len(catalogue), "catalogue": catalogue.fingerprint})


def load_index(path: Path) -> Index:
    """Open the folder that `gloss index` made; ArtifactError if it is not whole."""
    artifact = open_artifact(path, KIND)
    settings = IndexSettings(**artifact.config)
    frame = pl.read_parquet(artifact.path / _CATALOGUE, glob=False)
    catalogue = Catalogue(Item(item, title) for item, title in frame.iter_rows())
    bm25 = BM25.load(artifact.path, catalogue, settings)
    return Index(artifact, settings, catalogue, _with_exact(bm25, catalogue, settings))


def _with_exact(retriever: Retriever, catalogue: Catalogue, settings: IndexSettings) -> Retriever:
    return ExactFirst(Exact(catalogue), retriever) if settings.exact_first else retriever
