"""What rankers are made from: the data set, and the artefacts that their specs say they need.

Knows which artefacts there are, and that they must belong together; knows no ranker, no stage and
no run. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from gloss.arrays import Array, Ints
from gloss.artifacts import Artifact, open_artifact, read_recorded
from gloss.config import Settings
from gloss.data.catalogue import Catalogue
from gloss.data.dataset import Dataset
from gloss.data.titles import TitleStyle
from gloss.errors import ConfigError, InputError
from gloss.progress import Progress, silent
from gloss.rankers.ranker import Need, RankerSpec
from gloss.rankers.records import TrainedConfig
from gloss.retrieval.dense.encoders import Encoder, open_encoder
from gloss.retrieval.index import Index, build_index, index_inputs, load_index
from gloss.retrieval.retriever import Retriever
from gloss.retrieval.settings import ENCODER, BM25Settings, IndexSettings

__all__ = ["RankerSources"]

S = TypeVar("S", bound=Settings)


class RankerSources:
    """What rankers are made from. Each part is opened when it is first needed, and once.

    index: an index to search; without one, `index_settings` say how one is built in memory.
    vectors: a dense index, for its vectors of titles. encoder: a sentence encoder, by name or
    folder. trained: by the ranker's name, the artefact that its training filled. progress: of what
    is built in memory.

    A part that is needed and not named is a ConfigError; one that is damaged, or of another data
    set, an ArtifactError.
    """

    def __init__(
        self,
        dataset: Dataset,
        title_style: TitleStyle,
        *,
        index: Path | None = None,
        index_settings: IndexSettings | None = None,
        vectors: Path | None = None,
        encoder: str = ENCODER,
        trained: Mapping[str, Path] = MappingProxyType({}),
        progress: Progress = silent,
    ) -> None:
        self.dataset = dataset
        self.title_style = title_style
        self.encoder_name = encoder
        self._index_path = index
        self._index_settings = index_settings
        self._vectors_path = vectors
        self._trained_paths = trained
        self._trained: dict[str, Artifact] = {}
        self._progress = progress

    def __getstate__(self) -> dict[str, Any]:
        """Without what has been opened, which is opened anew where this is sent to."""
        opened = {
            name for name, each in vars(type(self)).items() if isinstance(each, cached_property)
        }
        return {name: value for name, value in vars(self).items() if name not in opened}

    @cached_property
    def catalogue(self) -> Catalogue:
        """Every item of the data set."""
        return self.dataset.catalogue(self.title_style)

    @property
    def items(self) -> Catalogue:
        """The items of the index, where one is given, or else of the data set."""
        return self._index.catalogue if self._index else self.catalogue

    @property
    def index_settings(self) -> IndexSettings:
        """How the index is made that is searched."""
        if self._index:
            return self._index.settings
        return self._index_settings or BM25Settings(title_style=self.title_style)

    @cached_property
    def retriever(self) -> Retriever:
        """Searches the index, or one that is built here."""
        if self._index:
            return self._index.retriever
        return build_index(
            self.catalogue,
            self.index_settings,
            times_bought=self.times_bought,
            progress=self._progress,
        )

    @property
    def times_bought(self) -> Ints:
        """int64 (catalogue,): how often a model may see each item."""
        return self.dataset.times_bought()

    @cached_property
    def title_vectors(self) -> Array:
        """float32 (catalogue, width): a vector for each item, rows of length 1.

        The dense index has a vector for each distinct title; items of one title share it.
        """
        of_titles = self._vectors.title_vectors  # (titles, width)
        assert of_titles is not None
        row_of = {title: row for row, title in enumerate(self._vectors.catalogue.titles)}
        removed = [item.id for item in self.catalogue if item.title not in row_of]
        if removed:
            raise InputError(
                f"{self._vectors_path} has no vectors of {len(removed):,} items of the data set "
                f"({removed[0]}, say), which were removed from it: name an index that is made of "
                "the data set with gloss index"
            )
        vectors: Array = of_titles[[row_of[item.title] for item in self.catalogue]]
        return vectors

    @cached_property
    def encoder(self) -> Encoder:
        """The sentence encoder."""
        return open_encoder(self.encoder_name)

    def trained(self, spec: RankerSpec[S]) -> Artifact:
        """What the ranker's training has made, of this data set and these titles."""
        if spec.name not in self._trained:
            self._trained[spec.name] = self._open_trained(spec)
        return self._trained[spec.name]

    def added(self, spec: RankerSpec[S]) -> Mapping[str, Array]:
        """Nothing: what is trained here knows the whole catalogue."""
        return {}

    def counts(self, spec: RankerSpec[S], settings: S) -> Mapping[str, Array]:
        """What the ranker counts of the purchases that a model may see."""
        if spec.count is None:
            raise ConfigError(f"{spec.name} counts nothing of purchases")
        return spec.count(self.dataset.train_rows(), self.catalogue, settings)

    def settings_of(self, spec: RankerSpec[S], wanted: S) -> S:
        """The settings that a ranker is built with: what is trained brings its own."""
        if spec.training is None:
            return wanted
        return _trained_settings(spec, self.trained(spec))

    def inputs(self, spec: RankerSpec[S], settings: S) -> dict[str, str]:
        """The fingerprints of what a ranker is built from, by what a manifest calls them."""
        inputs = self.fingerprints(spec.needs(settings))
        if spec.training:
            inputs[spec.name] = self.trained(spec).fingerprint
        return inputs

    def fingerprints(self, needs: Iterable[Need]) -> dict[str, str]:
        """The fingerprints of the data set and of these parts."""
        found = {"dataset": self.dataset.fingerprint}
        for need in sorted(needs):
            found |= self._fingerprints_of(need)
        return found

    def _fingerprints_of(self, need: Need) -> dict[str, str]:
        if need == "title-vectors":
            return {need: self._vectors.fingerprint}
        if need == "encoder":
            return {need: self.encoder.fingerprint}
        index = {"index": self._index.fingerprint} if self._index else {}
        if need == "items":
            return index
        return {**index_inputs(self.dataset.fingerprint, self.index_settings), **index}

    @cached_property
    def _index(self) -> Index | None:
        if self._index_path is None:
            return None
        index = load_index(self._index_path)
        self._require_same_data(index.artifact)
        return index

    @cached_property
    def _vectors(self) -> Index:
        """The dense index. Raises InputError when it holds no vectors of such titles."""
        if self._vectors_path is None:
            raise ConfigError(
                "this ranker reads vectors of titles: name an index made with --retriever dense"
            )
        index = load_index(self._vectors_path)
        self._require_same_data(index.artifact)
        if index.title_vectors is None or index.settings.title_style != self.title_style:
            raise InputError(
                f"{self._vectors_path} holds no vectors of {self.title_style!r} titles: make it "
                f"with --retriever dense and --protocol {self.title_style}"
            )
        return index

    def _open_trained(self, spec: RankerSpec[S]) -> Artifact:
        path = self._trained_paths.get(spec.name)
        if spec.training is None or path is None:
            raise ConfigError(f"{spec.name} has to be trained first: name what was trained")
        artifact = open_artifact(path, spec.training.kind)
        self._require_same_data(artifact)
        titles = TrainedConfig.of(artifact).titles
        if titles != self.title_style:
            raise InputError(
                f"{path} was trained on {titles!r} titles, not on {self.title_style!r} ones"
            )
        settings = _trained_settings(spec, artifact)
        for role, fingerprint in self.fingerprints(spec.needs(settings)).items():
            artifact.require_input(role, fingerprint, f"the {role} given")
        return artifact

    def _require_same_data(self, artifact: Artifact) -> None:
        artifact.require_input(
            "dataset", self.dataset.fingerprint, f"the data set {self.dataset.path}"
        )


def _trained_settings(spec: RankerSpec[S], trained: Artifact) -> S:
    return read_recorded(spec.settings, TrainedConfig.of(trained).settings, of=trained)
