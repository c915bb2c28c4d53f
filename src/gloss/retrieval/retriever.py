"""The seam of retrieval: what a retriever is, and how one is declared.

A retriever finds the items of a catalogue that a text means. It is one file, with a class that has
`search` and `save`, that ends with its `RetrieverSpec`, and one line in the tuple of
retrieval/specs.py. Settings, stages, commands and reports read that tuple. Knows no users. Needs no
torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from gloss.arrays import Floats
from gloss.artifacts import Artifact, Draft
from gloss.config import TitleFusion
from gloss.data.catalogue import Catalogue, ItemId
from gloss.progress import Progress
from gloss.retrieval.settings import IndexSettings

__all__ = [
    "RRF_CONSTANT",
    "Build",
    "HasTitleVectors",
    "Hit",
    "Retriever",
    "RetrieverSpec",
    "StoredRetriever",
]

S = TypeVar("S", bound=IndexSettings)
S_contra = TypeVar("S_contra", bound=IndexSettings, contravariant=True)

RRF_CONSTANT = 60
"""The k of reciprocal rank fusion, score = Σ 1 / (k + rank) (Cormack, Clarke and Büttcher, SIGIR
2009)."""


class Hit(NamedTuple):
    """An item that a text found. row: of the catalogue; score: above 0, higher is better.

    A named tuple, because a search makes hundreds of thousands of them, and a dataclass takes four
    times as long to make.
    """

    item: ItemId
    row: int
    score: float


class Retriever(Protocol):
    """Finds the items of a catalogue that texts mean."""

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        """At most `k` distinct items for each text, best first; equal scores by row, but in an
        index with `popular_first` by sales.

        What a text finds does not depend on the other texts. A text without a known word finds
        nothing: its hits are `()`. (An encoder knows every word; there only an empty text finds
        nothing.) Raises ConfigError when `k` is below 1.
        """
        ...


class StoredRetriever(Retriever, Protocol):
    """A retriever that can be saved: what an index holds."""

    def save(self, draft: Draft) -> None:
        """Write into an index artefact what the spec's `load` reads."""
        ...


@runtime_checkable
class HasTitleVectors(Protocol):
    """A retriever that holds the vectors of all titles, which rankers read too."""

    @property
    def title_vectors(self) -> Floats:
        """float32 (distinct titles, dimension), in the order of `Catalogue.titles`."""
        ...


class Build(Protocol[S_contra]):
    """Makes a retriever from a catalogue."""

    def __call__(
        self,
        catalogue: Catalogue,
        settings: S_contra,
        *,
        previous: StoredRetriever | None,
        progress: Progress,
    ) -> StoredRetriever:
        """Index the titles, which are cleaned already.

        previous: the retriever of an index with the same settings that this one replaces, whose
        catalogue differs by some items; what it holds need not be computed again. progress counts
        what takes long, if anything does. Raises InputError when no title can be searched for.
        """
        ...


def _no_inputs(_settings: IndexSettings) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class RetrieverSpec(Generic[S]):
    """What the rest of GLoSS knows of a retriever.

    name: in commands, settings and manifests. label: in reports; "{encoder}" stands for the name of
    the encoder. settings: its fields are the retriever's part of the `index` section. build: makes
    it from a catalogue. load: reads what `save` wrote from an index artefact. inputs:
    fingerprints, by name, of what an index is bound to besides its data set; raises a GlossError
    if anything that the retriever needs is missing. published_fusion: how PAPER fuses the items of
    a user's titles. in_place: whether its items are kept outside of the index's folder, and are
    added and removed there.
    """

    name: str
    label: str
    settings: type[S]
    build: Build[S]
    load: Callable[[Artifact, Catalogue, S], StoredRetriever]
    inputs: Callable[[S], Mapping[str, str]] = _no_inputs
    published_fusion: TitleFusion = "best-score"
    in_place: bool = False
