"""Indexes: a catalogue and what searches it, in memory or as an artefact.

An index artefact is a catalogue with titles cleaned in one style, and whatever its retriever saves.
Its configuration holds the retriever's settings (retrieval/settings.py):

    catalogue.parquet                                 item, title, times_bought, in row order
    data.npy, indices.npy, indptr.npy                 bm25, hybrid: term scores, a column a word
    vocabulary.json                                   bm25, hybrid: word -> column
    vectors.npy                                       dense, hybrid: one row a distinct title
    neighbours.faiss                                  dense, hybrid: where search is approximate
    store.json                                        milvus: where the vectors are

An index is bound by fingerprint to its data set and, where it has an encoder, to that.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from gloss.arrays import Floats, Ints
from gloss.artifacts import Artifact, Draft, Recipe, read_artifact
from gloss.artifacts.content import read_table
from gloss.data.catalogue import Catalogue, Item
from gloss.errors import ArtifactError, ConfigError
from gloss.progress import Progress, silent
from gloss.retrieval.lexical.exact_titles import Exact, ExactFirst
from gloss.retrieval.popular_first import PopularFirst
from gloss.retrieval.retriever import (
    HasTitleVectors,
    Retriever,
    RetrieverSpec,
    StoredRetriever,
)
from gloss.retrieval.settings import EncoderSettings, IndexSettings
from gloss.retrieval.specs import retriever_named, settings_from

__all__ = [
    "KIND",
    "Index",
    "build_index",
    "fetch_what_is_needed",
    "index_inputs",
    "index_recipe",
    "load_index",
    "write_index",
]

KIND = "index"

_CATALOGUE = "catalogue.parquet"
_TIMES_BOUGHT = "times_bought"
_COLUMNS = {"item": pl.String, "title": pl.String, _TIMES_BOUGHT: pl.Int64}


@dataclass(frozen=True, slots=True)
class Index:
    """An index read from disk, ready to search.

    times_bought: int64 (catalogue,), in training. stored: what the spec loaded; retriever: the
    same, with exact titles first, and the most bought of equals, where the settings say so.
    """

    artifact: Artifact
    settings: IndexSettings
    catalogue: Catalogue
    times_bought: Ints
    stored: StoredRetriever
    retriever: Retriever

    @property
    def fingerprint(self) -> str:
        """What rankings made with this index are bound to."""
        return self.artifact.fingerprint

    @property
    def spec(self) -> RetrieverSpec[Any]:
        """The kind of its retriever."""
        return retriever_named(self.settings.retriever)

    @property
    def title_vectors(self) -> Floats | None:
        """float32 (distinct titles, dimension), in the order of the catalogue's; None without."""
        return self.stored.title_vectors if isinstance(self.stored, HasTitleVectors) else None


def build_index(
    catalogue: Catalogue,
    settings: IndexSettings,
    *,
    times_bought: Ints | None = None,
    previous: StoredRetriever | None = None,
    progress: Progress = silent,
) -> Retriever:
    """A retriever over a catalogue in memory, whose titles are cleaned in the settings' style.

    times_bought: int64 (catalogue,); without it equals go by row. previous: see `Build`. progress
    counts titles that were encoded. Raises InputError when no title holds a word to search for, and
    what the spec's `inputs` raises.
    """
    stored = retriever_named(settings.retriever).build(
        catalogue, settings, previous=previous, progress=progress
    )
    return _in_order(stored, catalogue, settings, times_bought)


def index_recipe(
    dataset: str, settings: IndexSettings, *, changed_from: Index | None = None
) -> Recipe:
    """How the catalogue of a data set with this fingerprint is indexed.

    changed_from: the index whose items were added to or removed.
    """
    inputs = index_inputs(dataset, settings)
    if changed_from:
        inputs["index"] = changed_from.fingerprint
    return Recipe(KIND, settings.model_dump(mode="json"), inputs)


def write_index(
    draft: Draft,
    catalogue: Catalogue,
    settings: IndexSettings,
    *,
    times_bought: Ints,
    previous: StoredRetriever | None = None,
    progress: Progress = silent,
) -> None:
    """Fill the draft of an index. times_bought: int64 (catalogue,). previous: see `Build`.

    The summary holds the number of items and the fingerprint of the catalogue.
    """
    columns = {"item": [i.id for i in catalogue], "title": [i.title for i in catalogue]}
    frame = pl.DataFrame({**columns, _TIMES_BOUGHT: times_bought})
    frame.write_parquet(draft.path / _CATALOGUE)
    stored = retriever_named(settings.retriever).build(
        catalogue, settings, previous=previous, progress=progress
    )
    stored.save(draft)
    draft.summary.update({"items": len(catalogue), "catalogue": catalogue.fingerprint})


def load_index(path: Path) -> Index:
    """Open an index artefact.

    Raises ArtifactError if it is not whole, was written by a version with other settings, or its
    encoder has changed since, BeingReplacedError while it is changed again and again, and what the
    spec's `inputs` raises.
    """
    return read_artifact(path, KIND, _index_in)


def _index_in(artifact: Artifact) -> Index:
    settings = _settings_of(artifact)
    spec = retriever_named(settings.retriever)
    for name, fingerprint in spec.inputs(settings).items():
        artifact.require_input(name, fingerprint, f"the {name} {getattr(settings, name, '')}")
    frame = read_table(artifact.file(_CATALOGUE), _COLUMNS)
    catalogue = Catalogue(Item(*pair) for pair in frame.select("item", "title").iter_rows())
    times_bought = frame[_TIMES_BOUGHT].to_numpy()
    stored = spec.load(artifact, catalogue, settings)
    retriever = _in_order(stored, catalogue, settings, times_bought)
    return Index(artifact, settings, catalogue, times_bought, stored, retriever)


def fetch_what_is_needed(settings: IndexSettings) -> None:
    """Fetch the encoder of an index that is to be made, if it has one and that is a hub's.

    Raises what `fetch_encoder` raises.
    """
    if isinstance(settings, EncoderSettings):
        from gloss.retrieval.dense.encoders import fetch_encoder

        fetch_encoder(settings.encoder)


def index_inputs(dataset: str, settings: IndexSettings) -> dict[str, str]:
    """What an index of a data set with this fingerprint is bound to."""
    return {"dataset": dataset, **retriever_named(settings.retriever).inputs(settings)}


def _settings_of(artifact: Artifact) -> IndexSettings:
    try:
        return settings_from(artifact.config)
    except ConfigError as error:
        raise ArtifactError(
            f"{artifact.path} cannot be searched ({error}): make it again with gloss index"
        ) from None


def _in_order(
    stored: StoredRetriever,
    catalogue: Catalogue,
    settings: IndexSettings,
    times_bought: Ints | None,
) -> Retriever:
    """The retriever with what the settings put first."""
    found = ExactFirst(Exact(catalogue), stored) if settings.exact_first else stored
    if times_bought is None or not settings.popular_first:
        return found
    return PopularFirst(found, times_bought)
