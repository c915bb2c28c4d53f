"""A bundle: all that a recommender needs to answer, in one folder, and nothing else.

    catalogue.parquet     item, title as it is searched, and the catalogue's other columns
    times-bought.npy      int64 (catalogue,), in training
    title-vectors.npy     float32 (catalogue, width), where a ranker reads them
    index/                finds the items of texts; its rows are the catalogue's
    model/                the language model, where there is one
    rankers/NAME/         what a ranker was trained to, or counts.npz: what it counted
    fusion/               the fitted fusion, where several lists become one
    trained/              where items came or went after the training: catalogue.parquet and
                          title-vectors.npy as it had them, and NAME.npz, what a ranker knows of
                          titles that came after it

No purchase of anybody lies in it, and no path leads out of it: it answers on another machine as it
does here. It is an artefact, so that it is whole or not there. Knows no run and no data set.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from pydantic import Field

from gloss.arrays import Array, Ints
from gloss.artifacts import (
    MANIFEST,
    Artifact,
    ArtifactConfig,
    Draft,
    open_artifact,
    write_atomic,
)
from gloss.artifacts.content import finite, read_array, read_table
from gloss.choices import TitleStyle
from gloss.config import Decoding, ListLength, Settings, TitleFusion
from gloss.data.catalogue import Catalogue, Item
from gloss.errors import ArtifactError, ConfigError
from gloss.fusion.rule import FittedFusion
from gloss.fusion.rules import rule_named
from gloss.rankers.known_items import with_added
from gloss.rankers.ranker import RankerParts, RankerSpec
from gloss.rankers.specs import ranker_named
from gloss.retrieval.index import Index, load_index
from gloss.retrieval.retriever import Retriever

__all__ = [
    "KIND",
    "AsTrained",
    "Bundle",
    "BundleConfig",
    "Contents",
    "ModelPart",
    "RankerPart",
    "open_bundle",
    "write_bundle",
]

S = TypeVar("S", bound=Settings)

KIND = "bundle"

_CATALOGUE = "catalogue.parquet"
_TIMES_BOUGHT = "times-bought.npy"
_TITLE_VECTORS = "title-vectors.npy"
_COUNTS = "counts.npz"
_TRAINED = "trained"
_TITLED: Mapping[str, Any] = {"item": pl.String, "title": pl.String}
_LAST_PURCHASE = "last purchase"
_INDEX, _MODEL, _FUSION = "index", "model", "fusion"


class ModelPart(ArtifactConfig):
    """How the language model's titles become a list."""

    decoding: Decoding = Field(description="How it writes titles.")
    fusion: TitleFusion = Field(description="How the items of several titles are joined.")
    per_query: ListLength = Field(description="Items retrieved for each title.")
    length: ListLength = Field(description="Items that it brings to the fusion.")
    reads_wish: bool = Field(False, description="Whether a wish stands in its prompt.")


class RankerPart(ArtifactConfig):
    """A ranker of a bundle."""

    name: str = Field(description="The ranker.")
    settings: dict[str, Any] = Field(description="Its settings.")
    length: ListLength = Field(description="Items that it brings to the fusion.")


class BundleConfig(ArtifactConfig):
    """What a bundle is, as its manifest records it."""

    name: str = Field(description="The name of the experiment.")
    titles: TitleStyle = Field(description="How titles are cleaned.")
    exclude_seen: bool = Field(description="Whether what somebody has bought is left out.")
    length: ListLength = Field(description="Items in a list, as it was measured.")
    encoder: str | None = Field(description="The encoder that made the vectors of titles, by name.")
    fusion: str | None = Field(description="The rule by which lists become one; null for one list.")
    model: ModelPart | None = Field(
        description="The language model; its list is the fusion's first."
    )
    rankers: tuple[RankerPart, ...] = Field(description="The other rankers, in their order.")


@dataclass(frozen=True, slots=True, eq=False)
class AsTrained:
    """What trained rankers know, where items came or went after their training.

    catalogue: of the training, in its order; title_vectors: float32 (that catalogue, width), where
    a trained ranker reads them; added: by the ranker's name, what it knows of titles that came
    after the training.
    """

    catalogue: Catalogue
    title_vectors: Array | None
    added: Mapping[str, Mapping[str, Array]]


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """What a bundle is made of.

    times_bought: int64 (catalogue,). index: of the catalogue. model: whole, no adapter.
    title_vectors: float32 (catalogue, width). counts, trained: by the ranker's name, what it has
    counted, and what its training has made. as_trained: where that was with another catalogue.
    last_purchase: the time of the newest purchase of the data set, None where it has no times.
    """

    catalogue: Catalogue
    times_bought: Ints
    index: Artifact
    model: Artifact | None
    fusion: FittedFusion | None
    title_vectors: Array | None
    counts: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    trained: Mapping[str, Artifact] = field(default_factory=dict)
    as_trained: AsTrained | None = None
    last_purchase: float | None = None


def write_bundle(draft: Draft, contents: Contents) -> None:
    """Fill the draft of a bundle."""
    _write_catalogue(draft.path / _CATALOGUE, contents.catalogue)
    _save_array(draft.path / _TIMES_BOUGHT, contents.times_bought)
    if contents.title_vectors is not None:
        _save_array(draft.path / _TITLE_VECTORS, contents.title_vectors)
    _copy_artifact(contents.index, draft.path / _INDEX)
    if contents.model is not None:
        _copy_artifact(contents.model, draft.path / _MODEL)
    for name, arrays in contents.counts.items():
        _save_arrays(draft.path / "rankers" / name / _COUNTS, arrays)
    for name, artifact in contents.trained.items():
        _copy_artifact(artifact, draft.path / "rankers" / name)
    if contents.as_trained is not None:
        _write_as_trained(draft.path / _TRAINED, contents.as_trained)
    files = contents.fusion.files() if contents.fusion else {}
    (draft.path / _FUSION).mkdir(exist_ok=True)
    for name, text in files.items():
        write_atomic(draft.path / _FUSION / name, text.encode())
    draft.summary["items"] = len(contents.catalogue)
    draft.summary["purchases"] = int(contents.times_bought.sum())
    if contents.last_purchase is not None:
        draft.summary[_LAST_PURCHASE] = contents.last_purchase


def open_bundle(path: Path) -> Bundle:
    """Open a bundle; ArtifactError if it is not whole, or of a version with other settings."""
    artifact = open_artifact(path, KIND)
    return Bundle(artifact, BundleConfig.of(artifact))


class Bundle:
    """A bundle on disk: what rankers are built from (`RankerParts`), and what joins them.

    Each part is read when it is first needed, and once.
    """

    def __init__(self, artifact: Artifact, settings: BundleConfig) -> None:
        self.artifact = artifact
        self.settings = settings

    @property
    def fingerprint(self) -> str:
        """Of everything in it."""
        return self.artifact.fingerprint

    @property
    def last_purchase(self) -> float | None:
        """The time of the newest purchase of the data set that it was made of, held back or not;
        None where that is not known, as in bundles of an earlier version."""
        known = self.artifact.summary.get(_LAST_PURCHASE)
        return known if isinstance(known, int | float) else None

    @cached_property
    def catalogue(self) -> Catalogue:
        """Every item, with its columns."""
        frame = self._frame
        others = frame.drop("item", "title").iter_rows(named=True)
        pairs = frame.select("item", "title").iter_rows()
        if frame.width == 2:
            return Catalogue(Item(item, title) for item, title in pairs)
        return Catalogue(
            Item(item, title, columns) for (item, title), columns in zip(pairs, others, strict=True)
        )

    @property
    def items(self) -> Catalogue:
        """The catalogue's."""
        return self.catalogue

    @cached_property
    def columns(self) -> pl.DataFrame:
        """The catalogue as a frame: item, title and its other columns, in the order of the rows."""
        return self._frame

    @cached_property
    def index(self) -> Index:
        """Finds the items of texts; its rows are the catalogue's."""
        index = load_index(self._folder(_INDEX))
        if index.catalogue.fingerprint != self.catalogue.fingerprint:
            raise ArtifactError(f"{self.artifact.path} is damaged: its index has other items")
        return index

    @property
    def retriever(self) -> Retriever:
        """What the index searches with."""
        return self.index.retriever

    @property
    def has_title_vectors(self) -> bool:
        """Whether a part reads vectors of titles."""
        return _TITLE_VECTORS in self.artifact.files

    @cached_property
    def title_vectors(self) -> Array:
        """float32 (catalogue, width): a vector for each item, rows of length 1."""
        return self._array(_TITLE_VECTORS, np.float32, (len(self.catalogue), None))

    @cached_property
    def times_bought(self) -> Ints:
        """int64 (catalogue,): how often each item was bought in training."""
        return self._array(_TIMES_BOUGHT, np.int64, (len(self.catalogue),))

    @cached_property
    def fusion(self) -> FittedFusion | None:
        """What makes one list of several; None where there is one only."""
        if self.settings.fusion is None:
            return None
        with self.artifact.reading():
            return rule_named(self.settings.fusion).load(self.artifact.path / _FUSION)

    @property
    def model(self) -> Path | None:
        """The folder of the language model."""
        return self._folder(_MODEL) if self.settings.model else None

    def counts(self, spec: RankerSpec[S], _settings: S) -> Mapping[str, Array]:
        """What the ranker has counted."""
        return self._arrays(f"rankers/{spec.name}/{_COUNTS}")

    def trained(self, spec: RankerSpec[S]) -> Artifact:
        """What the ranker's training has made."""
        if spec.training is None:
            raise ConfigError(f"{spec.name} is not trained")
        return open_artifact(self._folder(f"rankers/{spec.name}"), spec.training.kind)

    def added(self, spec: RankerSpec[S]) -> Mapping[str, Array]:
        """What the ranker knows of titles that came after its training."""
        name = f"{_TRAINED}/{spec.name}.npz"
        if name not in self.artifact.files:
            return {}
        return self._arrays(name)

    @cached_property
    def trained_catalogue(self) -> Catalogue:
        """The items that trained rankers were trained on, in the order that they had then."""
        name = f"{_TRAINED}/{_CATALOGUE}"
        if name not in self.artifact.files:
            return self.catalogue
        with self.artifact.reading():
            frame = read_table(self.artifact.file(name), _TITLED)
        return Catalogue(Item(item, title) for item, title in frame.iter_rows())

    @cached_property
    def trained_vectors(self) -> Array:
        """float32 (trained catalogue, width): the vectors of the titles that were trained on."""
        if self.trained_catalogue is self.catalogue:
            return self.title_vectors
        rows = len(self.trained_catalogue)
        return self._array(f"{_TRAINED}/{_TITLE_VECTORS}", np.float32, (rows, None))

    def parts_of(self, spec: RankerSpec[Any]) -> RankerParts:
        """What a ranker is built from: the bundle, or for one that was trained the bundle with the
        catalogue that it knows."""
        if spec.training is None or self.trained_catalogue is self.catalogue:
            return self
        return _AsTrained(self, spec)

    def rankers(self) -> Sequence[tuple[RankerPart, RankerSpec[Any]]]:
        """The rankers besides the language model."""
        return [(part, ranker_named(part.name)) for part in self.settings.rankers]

    def _folder(self, name: str) -> Path:
        """A folder of the bundle that is an artefact itself."""
        self.artifact.file(f"{name}/{MANIFEST}")
        return self.artifact.path / name

    @cached_property
    def _frame(self) -> pl.DataFrame:
        file = self.artifact.file(_CATALOGUE)
        with self.artifact.reading():
            return read_table(file, _TITLED)

    def _array(self, name: str, dtype: Any, shape: tuple[int | None, ...]) -> Array:
        with self.artifact.reading():
            return read_array(self.artifact.file(name), dtype=dtype, shape=shape)

    def _arrays(self, name: str) -> Mapping[str, Array]:
        file = self.artifact.file(name)
        with self.artifact.reading(), np.load(file, allow_pickle=False) as arrays:
            return {key: finite(array, file) for key, array in dict(arrays).items()}


@dataclass(frozen=True, slots=True)
class _AsTrained:
    """A bundle as a trained ranker knows it: with the catalogue of the training and, where the
    ranker can know more, what was added since (`RankerParts`)."""

    bundle: Bundle
    spec: RankerSpec[Any]

    @property
    def catalogue(self) -> Catalogue:
        trained = self.bundle.trained_catalogue
        return with_added(trained, self.bundle.catalogue) if self.added(self.spec) else trained

    @property
    def items(self) -> Catalogue:
        return self.catalogue

    @property
    def retriever(self) -> Retriever:
        raise ConfigError(f"{self.spec.name} is trained, and searches no index of a bundle")

    @property
    def times_bought(self) -> Ints:
        raise ConfigError(f"{self.spec.name} is trained, and a bundle keeps no sales of that time")

    @property
    def title_vectors(self) -> Array:
        return self.bundle.trained_vectors

    def counts(self, spec: RankerSpec[S], settings: S) -> Mapping[str, Array]:
        return self.bundle.counts(spec, settings)

    def trained(self, spec: RankerSpec[S]) -> Artifact:
        return self.bundle.trained(spec)

    def added(self, spec: RankerSpec[S]) -> Mapping[str, Array]:
        return self.bundle.added(spec)


def _write_as_trained(folder: Path, known: AsTrained) -> None:
    folder.mkdir(exist_ok=True)
    titled = Catalogue(Item(item.id, item.title) for item in known.catalogue)
    _write_catalogue(folder / _CATALOGUE, titled)
    if known.title_vectors is not None:
        _save_array(folder / _TITLE_VECTORS, known.title_vectors)
    for name, arrays in known.added.items():
        _save_arrays(folder / f"{name}.npz", arrays)


def _write_catalogue(file: Path, catalogue: Catalogue) -> None:
    columns = {
        "item": [item.id for item in catalogue],
        "title": [item.title for item in catalogue],
        **{name: [item.columns[name] for item in catalogue] for name in catalogue[0].columns},
    }
    pl.DataFrame(columns, infer_schema_length=None).write_parquet(file)


def _save_array(file: Path, array: Array) -> None:
    with file.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


def _save_arrays(file: Path, arrays: Mapping[str, Array]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    by_name: dict[str, Any] = dict(arrays)
    with file.open("wb") as stream:
        np.savez(stream, **by_name)


def _copy_artifact(artifact: Artifact, out: Path) -> None:
    """Copy what the manifest lists, and the manifest, as one version."""
    with artifact.reading():
        for name in (*artifact.files, MANIFEST):
            target = out / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(artifact.path / name, target)
