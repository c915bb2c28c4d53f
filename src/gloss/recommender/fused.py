"""The fused ranking of a run, ready for anybody's history.

What is served is what was fused: rankers, their settings and their weights are read from the
ranking and from those that it was made of, not from the experiment. Knows runs; knows no language
model, only what one wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from gloss.artifacts import MANIFEST, Artifact, open_artifact
from gloss.data.catalogue import Catalogue
from gloss.data.dataset import Dataset
from gloss.data.generations import Generation
from gloss.data.histories import Question, times_bought
from gloss.data.titles import TitleStyle
from gloss.experiment.run_folder import FUSED, RunFolder
from gloss.fusion import log_linear as blending
from gloss.fusion import trees as boosting
from gloss.rankers import specs
from gloss.rankers.sources import Sources, ranker_named
from gloss.rankings import files as rankings
from gloss.rankings.ranking import Ranking
from gloss.retrieval.grounding import rank
from gloss.retrieval.retriever import Retriever

__all__ = ["Fusion", "was_fused"]

Grounded = Callable[[Sequence[Generation], Retriever], tuple[Ranking, ...]]
Asked = Callable[[Sequence[Question]], Sequence[Ranking]]
Blending = Callable[..., Sequence[Ranking]]
"""Everybody's list of each ranker, their questions, and `length`, the items of a list ->
everybody's one list."""


def was_fused(folder: RunFolder) -> bool:
    """Whether the run has come as far as its fused ranking."""
    return (folder.ranking(FUSED) / MANIFEST).is_file()


@dataclass(frozen=True, slots=True)
class Fusion:
    """The language model's titles and other rankers, joined as in a run.

    known: the items that rankers know; offered: those that may be recommended. Both change apart:
    an index gains and loses items after a run, rankers do not.
    """

    known: Catalogue
    offered: Catalogue
    titles: Grounded
    rankers: tuple[Asked, ...]
    blend: Blending

    @classmethod
    def load(cls, folder: RunFolder, style: TitleStyle, offered: Catalogue) -> Fusion:
        """Read what the run has fused; graphs are built and networks loaded here, once.

        style: how the run's titles were cleaned. Raises ArtifactError when a part is missing,
        damaged or not the one that was fused, MissingExtraError when what a ranker needs is not
        installed.
        """
        made = open_artifact(folder.ranking(FUSED), rankings.KIND)
        data = Dataset.load(folder.data)
        sources = Sources(
            data,
            style,
            index=folder.vectors,
            encoder=folder.encoder,
            networks=folder.networks,
        )
        ours, *others = _parts(folder, made)
        rankers = tuple(_asked(each, sources) for each in others)
        return cls(sources.catalogue, offered, _grounded(ours), rankers, _blending(made, data))

    def knows(self, question: Question) -> bool:
        """Whether the rankers know any of the purchases."""
        return any(item in self.known for item in question.history)

    def rank(
        self, generations: Sequence[Generation], retriever: Retriever, *, length: int
    ) -> Sequence[Ranking]:
        """At most `length` items for everybody, in the generations' order.

        Rankers are asked about the purchases that they know. Their lists are as long as those that
        were fused, which bounds how long a list can be.
        """
        questions = [self._known(each) for each in generations]
        lists = [self._offered(ranker(questions)) for ranker in self.rankers]
        return self.blend([self.titles(generations, retriever), *lists], questions, length=length)

    def _known(self, generation: Generation) -> Generation:
        history = tuple(item for item in generation.history if item in self.known)
        return replace(generation, history=history)

    def _offered(self, lists: Sequence[Ranking]) -> list[Ranking]:
        return [
            Ranking(each.user, tuple(e for e in each.entries if e.item in self.offered))
            for each in lists
        ]


def _parts(folder: RunFolder, made: Artifact) -> list[Artifact]:
    """The rankings of test users that were fused, the language model's first."""
    parts = []
    for number, name in enumerate(made.config["rankers"], 1):
        part = open_artifact(folder.ranker("test", name), rankings.KIND)
        made.require_input(f"ranking {number}", part.fingerprint, f"the ranking {part.path}")
        parts.append(part)
    return parts


def _grounded(ours: Artifact) -> Grounded:
    """How generated titles become a list; the index is the caller's, see `Fusion`."""
    return partial(
        rank,
        rule=ours.config["fusion"],
        per_query=ours.config["per_query"],
        length=ours.config["length"],
        exclude_seen=ours.config["exclude_seen"],
    )


def _asked(part: Artifact, sources: Sources) -> Asked:
    """The ranker that made a ranking, made again to be asked of others."""
    name = ranker_named(part.config["baseline"])
    for role, fingerprint in sources.inputs(name).items():
        part.require_input(role, fingerprint, f"the {role} that lies in the run")
    return partial(
        sources.ranker(name, specs.ranker_named(name).settings(**(part.config["settings"] or {}))),
        length=part.config["length"],
        exclude_seen=part.config["exclude_seen"],
    )


def _blending(made: Artifact, data: Dataset) -> Blending:
    if made.config["fusion"] == "trees":
        text = (made.path / boosting.FILE).read_text("utf-8")
        trees = boosting.Trees(text, made.summary["fitted on users"])
        return partial(boosting.blend, trees=trees, popularity=times_bought(data.train()))
    if made.config["fusion"] == "reciprocal-rank":
        return lambda lists, _, length: blending.rank_fusion(lists, length=length)
    weights = blending.Blend.from_summary(made.summary, made.config["rankers"])
    return lambda lists, _, length: blending.blend(lists, weights, length=length)
