"""Signals: what ranks without a language model, made from artefacts and ready to be asked.

Knows which artefacts a signal is made from, and that they must belong together; knows neither
stages nor runs. Needs torch for "sasrec" only, and imports it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from gloss.artifacts import Artifact, open_artifact
from gloss.config import SASRec, SignalName, Transitions
from gloss.data.catalogue import Catalogue
from gloss.data.dataset import Dataset
from gloss.data.histories import Question
from gloss.data.titles import TitleStyle
from gloss.errors import ConfigError, InputError, require_extra
from gloss.evaluation.baselines.scored import Array
from gloss.evaluation.baselines.text import similar_titles
from gloss.evaluation.baselines.transitions import build_graph, transitions
from gloss.evaluation.baselines.tuned import expected_next
from gloss.evaluation.baselines.words import common_words, weigh_words
from gloss.progress import Progress, silent
from gloss.retrieval.encoders import TAUGHT
from gloss.retrieval.fusion import Ranking
from gloss.retrieval.indexing import Index, load_index
from gloss.retrieval.taught import read_taught

if TYPE_CHECKING:
    from gloss.evaluation.baselines.sasrec import Ensemble

__all__ = [
    "SASREC",
    "SIGNALS",
    "TRAINED",
    "Signal",
    "Sources",
    "network_file",
    "signal_named",
]

SIGNALS: tuple[SignalName, ...] = (
    "transitions",
    "two-step",
    "text",
    "tuned",
    "words",
    "sasrec",
)

SASREC: Literal["sasrec"] = "sasrec"
"""A signal, and the kind of the artefact that holds its networks."""

TRAINED: tuple[SignalName, ...] = ("tuned", SASREC)
"""Signals that bring their settings with what they were trained to."""


class Signal(Protocol):
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
    """What signals are made from; each is opened when it is first needed, and once.

    index: an index by meaning, for signals that read vectors of titles; encoder: made by the stage
    `tune`, for "tuned"; networks: made by the stage `train_sasrec`, for "sasrec". One that is
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

    def inputs(self, name: SignalName) -> dict[str, str]:
        """The fingerprints of what a signal is made from, by what a manifest calls them."""
        found = {"dataset": self.dataset.fingerprint}
        if name == "text" or (name == SASREC and self._trained.config["text"]):
            found["index"] = self.meaning.fingerprint
        if name == "tuned":
            found["encoder"] = self.taught.fingerprint
        if name == SASREC:
            found[SASREC] = self._trained.fingerprint
        return found

    def signal(self, name: SignalName, settings: Transitions) -> Signal:
        """Make a signal: build its graph, or load its networks. settings: what is trained has its
        own."""
        if name == SASREC:
            from gloss.evaluation.baselines.sasrec import sasrec

            return partial(sasrec, self._ensemble(), catalogue=self.catalogue)
        if name == "tuned":
            with self.taught.reading(), self.taught.folder() as folder:
                learned = read_taught(folder)
            return partial(expected_next, learned, catalogue=self.catalogue)
        told: dict[str, Any] = {"catalogue": self.catalogue, "settings": settings}
        if name == "words":
            return partial(common_words, weigh_words(self.catalogue), **told)
        if name == "text":
            return partial(similar_titles, self.vectors, **told)
        graph = build_graph(self.dataset.train(), self.catalogue, settings)
        return partial(transitions, graph, **told)

    @cached_property
    def catalogue(self) -> Catalogue:
        """Every item that signals know."""
        return self.dataset.catalogue(self._titles)

    @cached_property
    def meaning(self) -> Index:
        """The index by meaning. Raises InputError when it holds no vectors of such titles."""
        if self._index is None:
            raise ConfigError(
                "this signal reads vectors of titles: name an index made with --retriever dense"
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
            raise ConfigError('"tuned" reads vectors of an encoder made by gloss encoder tune')
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
        from gloss.evaluation.baselines.sasrec import Ensemble, load_network

        trained = self._trained
        fields = {k: v for k, v in trained.config.items() if k in SASRec.model_fields}
        settings = SASRec(**fields)
        with trained.reading():
            return Ensemble(
                [
                    load_network(
                        trained.file(network_file(number)),
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


def signal_named(name: str) -> SignalName:
    """The name, if there is such a signal; ConfigError if not."""
    for known in SIGNALS:
        if name == known:
            return known
    raise ConfigError(f"unknown signal {name!r}, known are {', '.join(SIGNALS)}")


def network_file(number: int) -> str:
    """Where the weights of a network lie in an artefact of the kind `SASREC`."""
    return f"network-{number}.safetensors"
