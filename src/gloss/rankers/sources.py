"""Rankers: what ranks without a language model, made from artefacts and ready to be asked.

Knows which artefacts a ranker is made from, and that they must belong together; knows neither
stages nor runs. Needs torch for "sasrec" only, and imports it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from gloss.artifacts import Artifact, open_artifact
from gloss.config import Settings
from gloss.data.catalogue import Catalogue
from gloss.data.dataset import Dataset
from gloss.data.histories import Question
from gloss.data.titles import TitleStyle
from gloss.errors import ConfigError, InputError, require_extra
from gloss.progress import Progress, silent
from gloss.rankers.dual_encoder.embeddings import read_taught
from gloss.rankers.dual_encoder.ranker import expected_next
from gloss.rankers.sasrec.settings import SASRecSettings
from gloss.rankers.scoring import Array
from gloss.rankers.title_similarity import similar_titles
from gloss.rankers.transitions import build_graph, transitions
from gloss.rankers.word_overlap import common_words, weigh_words
from gloss.rankings.ranking import Ranking
from gloss.retrieval.dense.encoders import TAUGHT
from gloss.retrieval.index import Index, load_index

if TYPE_CHECKING:
    from gloss.rankers.sasrec.ensemble import Ensemble

__all__ = [
    "RANKERS",
    "SASREC",
    "TRAINED",
    "Ranker",
    "Sources",
    "network_file",
    "ranker_named",
]

RANKERS: tuple[str, ...] = (
    "transitions",
    "second-order-transitions",
    "title-similarity",
    "dual-encoder",
    "word-overlap",
    "sasrec",
)

SASREC: Literal["sasrec"] = "sasrec"
"""A ranker, and the kind of the artefact that holds its networks."""

TRAINED: tuple[str, ...] = ("dual-encoder", SASREC)
"""Rankers that bring their settings with what they were trained to."""


class Ranker(Protocol):
    """Ranks for anybody; what is heavy was done before."""

    def __call__(
        self,
        questions: Sequence[Question],
        *,
        length: int,
        exclude_seen: bool,
        progress: Progress = silent,
    ) -> Sequence[Ranking]:
        """Everybody's list of at most `length` items, in the questions' order.

        Every item of a history must be in the data set. A user without a purchase has an empty
        list.
        """
        ...


class Sources:
    """What rankers are made from; each is opened when it is first needed, and once.

    index: an index by meaning, for rankers that read vectors of titles; encoder: made by the stage
    `tune`, for "dual-encoder"; networks: made by the stage `train_sasrec`, for "sasrec". One that is
    needed and not named is a ConfigError; one that is not whole, or of other data, an
    ArtifactError.
    """

    def __init__(
        self,
        dataset: Dataset,
        titles: TitleStyle,
        *,
        index: Path | None = None,
        encoder: Path | None = None,
        networks: Path | None = None,
    ) -> None:
        self.dataset = dataset
        self._titles = titles
        self._index = index
        self._encoder = encoder
        self._networks = networks

    def inputs(self, name: str) -> dict[str, str]:
        """The fingerprints of what a ranker is made from, by what a manifest calls them."""
        found = {"dataset": self.dataset.fingerprint}
        if name == "title-similarity" or (name == SASREC and self._trained.config["text"]):
            found["index"] = self.meaning.fingerprint
        if name == "dual-encoder":
            found["encoder"] = self.taught.fingerprint
        if name == SASREC:
            found[SASREC] = self._trained.fingerprint
        return found

    def ranker(self, name: str, settings: Settings) -> Ranker:
        """Make a ranker: build its graph, or load its networks. settings: what is trained has its
        own."""
        if name == SASREC:
            from gloss.rankers.sasrec.ranker import sasrec

            return partial(sasrec, self._ensemble(), catalogue=self.catalogue)
        if name == "dual-encoder":
            return partial(expected_next, read_taught(self.taught.path), catalogue=self.catalogue)
        told: dict[str, Any] = {"catalogue": self.catalogue, "settings": settings}
        if name == "word-overlap":
            return partial(common_words, weigh_words(self.catalogue), **told)
        if name == "title-similarity":
            return partial(similar_titles, self.vectors, **told)
        graph = build_graph(self.dataset.train(), self.catalogue, settings)  # type: ignore[arg-type]
        return partial(transitions, graph, **told)

    @cached_property
    def catalogue(self) -> Catalogue:
        """Every item that rankers know."""
        return self.dataset.catalogue(self._titles)

    @cached_property
    def meaning(self) -> Index:
        """The index by meaning. Raises InputError when it holds no vectors of such titles."""
        if self._index is None:
            raise ConfigError(
                "this ranker reads vectors of titles: name an index made with --retriever dense"
            )
        found = load_index(self._index)
        self._require_same_data(found.artifact)
        if found.parts.meaning is None or found.settings.title_style != self._titles:
            raise InputError(
                f"{self._index} holds no vectors of {self._titles!r} titles: make it with "
                f"--retriever dense and --protocol {self._titles}"
            )
        return found

    @cached_property
    def vectors(self) -> Array:
        """float32 (catalogue, width): a vector for each item, from those of the distinct titles."""
        assert self.meaning.parts.meaning is not None
        places = {title: place for place, title in enumerate(self.meaning.catalogue.titles)}
        of_titles = self.meaning.parts.meaning.vectors.vectors
        vectors: Array = of_titles[[places[item.title] for item in self.catalogue]]
        return vectors

    @cached_property
    def taught(self) -> Artifact:
        """The encoder that the stage `tune` made. Raises InputError when it read other titles."""
        if self._encoder is None:
            raise ConfigError(
                '"dual-encoder" reads vectors of an encoder made by gloss encoder tune'
            )
        found = open_artifact(self._encoder, TAUGHT)
        self._require_same_data(found)
        if found.config["titles"] != self._titles:
            raise InputError(f"{self._encoder} was taught on other titles than {self._titles!r}")
        return found

    @cached_property
    def _trained(self) -> Artifact:
        """The networks' folder. Raises MissingExtraError without torch."""
        require_extra("SASRec", "train", "torch", "safetensors")
        if self._networks is None:
            raise ConfigError("sasrec needs its trained networks")
        artifact = open_artifact(self._networks, SASREC)
        self._require_same_data(artifact)
        if artifact.config["text"]:
            artifact.require_input("index", self.meaning.fingerprint, f"the index {self._index}")
        return artifact

    def _ensemble(self) -> Ensemble:
        from gloss.rankers.sasrec.ensemble import Ensemble
        from gloss.rankers.sasrec.network import load_network

        trained = self._trained
        fields = {k: v for k, v in trained.config.items() if k in SASRecSettings.model_fields}
        settings = SASRecSettings(**fields)
        return Ensemble(
            [
                load_network(
                    trained.path / network_file(number),
                    self.catalogue,
                    vectors=self.vectors if settings.text else None,
                    settings=settings,
                )
                for number in range(settings.networks)
            ]
        )

    def _require_same_data(self, artifact: Artifact) -> None:
        artifact.require_input(
            "dataset", self.dataset.fingerprint, f"the data set {self.dataset.path}"
        )


def ranker_named(name: str) -> str:
    """The name, if there is such a ranker; ConfigError if not."""
    for known in RANKERS:
        if name == known:
            return known
    raise ConfigError(f"unknown ranker {name!r}, known are {', '.join(RANKERS)}")


def network_file(number: int) -> str:
    """Where the weights of a network lie in an artefact of the kind `SASREC`."""
    return f"network-{number}.safetensors"
