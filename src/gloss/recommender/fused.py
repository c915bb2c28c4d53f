"""The fused ranking of a run, ready for anybody's history.

What is served is what was fused: rankers, their settings and their weights are read from the
ranking and from those that it was made of, not from the experiment. Knows runs; knows no language
model, only what one wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from gloss.artifacts import MANIFEST, Artifact, open_artifact
from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.dataset import Dataset
from gloss.data.generations import Generation
from gloss.data.histories import History, times_bought
from gloss.data.titles import TitleStyle
from gloss.experiment.run_folder import FUSED, RunFolder
from gloss.fusion.rule import FittedFusion, FusionRequest
from gloss.fusion.rules import rule_named
from gloss.rankers.ranker import Ranker, RankRequest
from gloss.rankers.sources import RankerSources
from gloss.rankers.specs import ranker_named
from gloss.rankings import files as rankings
from gloss.rankings.ranking import Ranking
from gloss.rankings.table import RankingTable
from gloss.retrieval.grounding import rank
from gloss.retrieval.retriever import IndexSettings, Retriever

__all__ = ["Fusion", "was_fused"]

Grounded = Callable[[Sequence[Generation], Retriever], Sequence[Ranking]]
"""How generated titles become lists; the index is the caller's, see `Fusion`."""


def was_fused(folder: RunFolder) -> bool:
    """Whether the run has come as far as its fused ranking."""
    return (folder.ranking(FUSED) / MANIFEST).is_file()


@dataclass(frozen=True, slots=True)
class _RankerOfRun:
    """A ranker, and what its lists were like when they were fused."""

    ranker: Ranker
    length: int
    exclude_seen: bool

    def rank(self, histories: Sequence[History]) -> RankingTable:
        return self.ranker.rank(RankRequest(histories, self.length, self.exclude_seen))


@dataclass(frozen=True, slots=True)
class Fusion:
    """The language model's titles and other rankers, joined as in a run.

    known: the items that rankers know; offered: those that may be recommended. Both change apart:
    an index gains and loses items after a run, rankers do not. times_bought: how often each item
    was bought in training.
    """

    known: Catalogue
    offered: Catalogue
    titles: Grounded
    rankers: tuple[_RankerOfRun, ...]
    fitted: FittedFusion
    times_bought: Mapping[ItemId, int]

    @classmethod
    def load(cls, folder: RunFolder, style: TitleStyle, offered: Catalogue) -> Fusion:
        """Read what the run has fused; graphs are built and networks loaded here, once.

        style: how the run's titles were cleaned. Raises ArtifactError when a part is missing,
        damaged or not the one that was fused, MissingExtraError when what a ranker needs is not
        installed.
        """
        fused = open_artifact(folder.ranking(FUSED), rankings.KIND)
        data = Dataset.load(folder.data)
        ours, *others = _parts(folder, fused)
        sources = _sources(folder, data, style, others)
        return cls(
            sources.catalogue,
            offered,
            _grounded(ours),
            tuple(_rebuilt(each, sources) for each in others),
            rule_named(fused.config["fusion"]).load(fused.path),
            times_bought(data.train()),
        )

    def knows(self, generation: Generation) -> bool:
        """Whether the rankers know any of the purchases."""
        return any(item in self.known for item in generation.history)

    def rank(
        self, generations: Sequence[Generation], retriever: Retriever, *, length: int
    ) -> Sequence[Ranking]:
        """At most `length` items for everybody, in the generations' order.

        Rankers are asked about the purchases that they know. Their lists are as long as those that
        were fused, which bounds how long a list can be.
        """
        histories = [self._known(each) for each in generations]
        lists = [RankingTable.of(self.titles(generations, retriever))]
        lists += [self._offered(ranker.rank(histories)) for ranker in self.rankers]
        request = FusionRequest(lists, histories, self.times_bought)
        return self.fitted.fuse(request, length=length)

    def _known(self, generation: Generation) -> History:
        known = tuple(item for item in generation.history if item in self.known)
        return History(generation.user, known)

    def _offered(self, lists: RankingTable) -> RankingTable:
        return RankingTable.of(
            [
                Ranking(each.user, tuple(e for e in each.entries if e.item in self.offered))
                for each in lists
            ]
        )


def _parts(folder: RunFolder, fused: Artifact) -> list[Artifact]:
    """The rankings of test users that were fused, the language model's first."""
    parts = []
    for number, name in enumerate(fused.config["rankers"], 1):
        part = open_artifact(folder.ranker("test", name), rankings.KIND)
        fused.require_input(f"ranking {number}", part.fingerprint, f"the ranking {part.path}")
        parts.append(part)
    return parts


def _grounded(ours: Artifact) -> Grounded:
    return partial(
        rank,
        rule=ours.config["fusion"],
        per_query=ours.config["per_query"],
        length=ours.config["length"],
        exclude_seen=ours.config["exclude_seen"],
    )


def _sources(
    folder: RunFolder, data: Dataset, style: TitleStyle, parts: Sequence[Artifact]
) -> RankerSources:
    """What the run's rankers were made from. All that search an index search the same one."""
    indexes = [part.config["index"] for part in parts if "index" in part.config]
    return RankerSources(
        data,
        style,
        index_settings=IndexSettings(**indexes[0]) if indexes else None,
        vectors=folder.vectors,
        trained={part.config["ranker"]: folder.trained(part.config["ranker"]) for part in parts},
    )


def _rebuilt(part: Artifact, sources: RankerSources) -> _RankerOfRun:
    """The ranker that made a ranking, to be asked about others."""
    spec = ranker_named(part.config["ranker"])
    settings = spec.settings(**part.config["settings"])
    for role, fingerprint in sources.inputs(spec, settings).items():
        part.require_input(role, fingerprint, f"the {role} that lies in the run")
    ranker = spec.build(sources, settings)
    return _RankerOfRun(ranker, part.config["length"], part.config["exclude_seen"])
