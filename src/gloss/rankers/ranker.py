"""The seam of rankers: what one is asked, what it answers, and how it is declared.

A ranker is one file that ends with its `RankerSpec`, and one line in the tuple of
rankers/specs.py: settings, stages, commands, report and pipeline read that tuple. docs/extending.md
shows one from beginning to end. Its tests inherit `gloss.testing.rankers.RankerContract`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar

from gloss.arrays import Array, Bools, Ints
from gloss.artifacts import Artifact, Draft
from gloss.config import Settings
from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import History
from gloss.data.history_rows import HistoryRows
from gloss.errors import ArtifactError, ConfigError, nothing_to_install
from gloss.progress import Progress, silent
from gloss.rankings.table import RankingTable
from gloss.retrieval.retriever import Retriever

if TYPE_CHECKING:
    import torch

    from gloss.rankers.sources import RankerSources

__all__ = [
    "CHECKPOINTS",
    "Grown",
    "Need",
    "NextItems",
    "NoSettings",
    "RankRequest",
    "Ranker",
    "RankerParts",
    "RankerSpec",
    "RankerTraining",
    "require_counts",
]

S = TypeVar("S", bound=Settings)
S_contra = TypeVar("S_contra", bound=Settings, contravariant=True)

CHECKPOINTS = "checkpoints"
"""The folder in a draft for the state of an unfinished training; removed when it is finished."""

Need = Literal["items", "index", "title-vectors", "encoder"]
"""What a ranker may be made from besides the data set; see `RankerSources`.

items: the items of an index, where one is given, instead of the data set's; index: a retriever;
title-vectors: a vector for each item, from its title; encoder: a sentence encoder.
"""


def require_counts(fits: bool, ranker: str) -> None:
    """Raise ArtifactError unless what a ranker has counted, in a bundle of whoever made that, is
    what it counts of this catalogue."""
    if not fits:
        raise ArtifactError(f"the counts of {ranker} are not those of the bundle's catalogue")


@dataclass(frozen=True, slots=True)
class RankRequest:
    """A list for each of these users.

    histories: their purchases, all of items that the ranker knows; length: items in a list, at
    most; exclude_seen: leave out what stands in the user's history; allowed: bool (catalogue,), the
    rows that a list may hold, None for all. Raises ConfigError for a length below 1.
    """

    histories: Sequence[History]
    length: int
    exclude_seen: bool
    progress: Progress = silent
    allowed: Bools | None = None

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ConfigError(f"a list holds at least 1 item, not {self.length}")

    def may_list(self, row: int) -> bool:
        """Whether lists may hold the item of that row of the catalogue."""
        return self.allowed is None or bool(self.allowed[row])

    def excluded(self, history: History) -> frozenset[ItemId]:
        """The items that this user's list leaves out."""
        return frozenset(history.items) if self.exclude_seen else frozenset()


class Ranker(Protocol):
    """Ranks the catalogue for any history; the slow work is done when the ranker is built."""

    def rank(self, request: RankRequest) -> RankingTable:
        """Everybody's list, best first, in the order of the histories.

        Items of a list are distinct. Equal scores stand in the order of the catalogue, those of
        counts and titles by sales first, and where an index is searched in the index's order. A
        list does not depend on who else is asked for. Without a purchase it is empty, unless the
        ranker says otherwise.
        """
        ...


class RankerParts(Protocol):
    """What a ranker is built from: parts of a data set (`RankerSources`), or of a bundle, which
    has no data set any more."""

    @property
    def catalogue(self) -> Catalogue:
        """Every item that rankers know."""

    @property
    def items(self) -> Catalogue:
        """The items to rank: the catalogue's, or those of an index, where one is given."""

    @property
    def retriever(self) -> Retriever:
        """Searches `items`."""

    @property
    def times_bought(self) -> Ints:
        """int64 (catalogue,): how often each item was bought in training."""

    @property
    def title_vectors(self) -> Array:
        """float32 (catalogue, width): a vector for each item, rows of length 1."""

    def counts(self, spec: RankerSpec[S], settings: S, /) -> Mapping[str, Array]:
        """What the ranker's `count` makes of the purchases."""

    def trained(self, spec: RankerSpec[S], /) -> Artifact:
        """What the ranker's training has made."""

    def added(self, spec: RankerSpec[S], /) -> Mapping[str, Array]:
        """What the ranker's `extend` makes of titles that came after the training; without any,
        nothing."""


class NextItems(Protocol):
    """Knows for each item how likely it is bought next: what a language model can learn from."""

    def next_log_probabilities(self, rows: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """float32 (histories, catalogue): log p(next item | history), finite.

        rows: int64 (histories, longest), items padded on the right; counts: int64 (histories,), of
        real ones, at least one. All are on the device that the model was made for.
        """
        ...


class NoSettings(Settings):
    """For rankers with nothing to set."""


def needs_nothing(settings: Settings) -> frozenset[Need]:
    """For rankers that are made from the data set alone."""
    return frozenset()


class Fit(Protocol[S_contra]):
    """Trains a ranker into a draft, and sets what its summary says.

    `draft.path / CHECKPOINTS` exists. A training that is called again on the same draft goes on
    where it stopped, and ends with the same bytes.
    """

    def __call__(
        self,
        draft: Draft,
        sources: RankerSources,
        settings: S_contra,
        /,
        *,
        seed: int,
        progress: Progress,
    ) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Grown:
    """What an earlier training has made, and the purchases and items that there are now.

    trained: its artefact; known: the items that it was trained on, in their order. histories:
    everybody's; catalogue: of today; title_vectors: of that, float32 (catalogue, width), where the
    ranker reads them.
    """

    trained: Artifact
    known: Catalogue
    histories: Sequence[History]
    catalogue: Catalogue
    title_vectors: Array | None


class Refit(Protocol[S_contra]):
    """Trains a ranker further, from the weights of an earlier training, for a share of its epochs
    (rankers/retraining.py); otherwise as `Fit`."""

    def __call__(
        self,
        draft: Draft,
        grown: Grown,
        settings: S_contra,
        /,
        *,
        seed: int,
        progress: Progress,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class RankerTraining(Generic[S]):
    """How a ranker is trained before it is built.

    kind: of the artefact that the training fills; needs: what the training reads; refit: None for a
    ranker that can only be trained anew.
    """

    kind: str
    fit: Fit[S]
    needs: Callable[[S], frozenset[Need]] = needs_nothing
    refit: Refit[S] | None = None


@dataclass(frozen=True, slots=True)
class RankerSpec(Generic[S]):
    """What the rest of GLoSS knows of a ranker.

    name: in commands, settings, manifests and folders. label: in reports. settings: the section of
    an experiment that is the ranker's own. build: makes the ranker; one that is trained finds its
    artefact with `parts.trained(SPEC)`, one that counts finds its arrays with `parts.counts(SPEC,
    settings)`. needs: what it is built from, which may depend on its settings. training: None for a
    ranker that needs none. count: of everybody's purchases, what the ranker needs to know of them,
    as arrays by name, which a bundle keeps; None for a ranker that reads no purchases.
    extend: of what the training has made and of titles that came after it, what the ranker needs to
    know of these, as arrays by name, none where it cannot know them; None if it never can.
    teacher: makes what it knows on a device, for a language model to learn from; None for a ranker
    whose scores are no probabilities.
    without_vectors: the settings with which it needs no title vectors, where its usual ones do.
    lists_bought_alone: whether it lists nothing but the user's own purchases, so that it has no
    part where these are left out. with_bought: the settings for lists that may hold what was
    bought, where a ranker is trained otherwise for them.
    require_installed: raises MissingExtraError when an extra is missing, before any work is done.
    """

    name: str
    label: str
    settings: type[S]
    build: Callable[[RankerParts, S], Ranker]
    needs: Callable[[S], frozenset[Need]] = needs_nothing
    training: RankerTraining[S] | None = None
    count: Callable[[HistoryRows, Catalogue, S], Mapping[str, Array]] | None = None
    extend: Callable[[Artifact, Sequence[str]], Mapping[str, Array]] | None = None
    teacher: Callable[[RankerParts, S, torch.device], NextItems] | None = None
    without_vectors: S | None = None
    lists_bought_alone: bool = False
    with_bought: Callable[[S], S] | None = None
    require_installed: Callable[[], None] = nothing_to_install

    @property
    def section(self) -> str:
        """The name of the ranker's settings below `rankers`.

        >>> from gloss.rankers.word_overlap import SPEC
        >>> SPEC.section
        'word_overlap'
        """
        return self.name.replace("-", "_")

    @property
    def lists_new_items(self) -> bool:
        """Whether it lists items that nobody has bought yet: those who read titles do."""
        reads_titles = self.training is None and self.count is None
        return reads_titles or self.extend is not None

    def all_needs(self, settings: S) -> frozenset[Need]:
        """What the ranker is trained and built from."""
        trained = self.training.needs(settings) if self.training else frozenset()
        return self.needs(settings) | trained
