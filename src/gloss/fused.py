"""The fused ranking of a run, ready for anybody's history.

What is served is what was fused: signals, their settings and their weights are read from the
ranking and from those that it was made of, not from the experiment. Knows runs; knows no language
model, only what one wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from gloss.artifacts import MANIFEST, Artifact, open_artifact
from gloss.config import Transitions
from gloss.data.catalogue import Catalogue
from gloss.data.dataset import Dataset
from gloss.data.histories import Question, times_bought
from gloss.data.titles import TitleStyle
from gloss.decoding.generations import Generation
from gloss.evaluation import blending, boosting
from gloss.evaluation.signals import Sources, signal_named
from gloss.retrieval import rankings
from gloss.retrieval.fusion import Ranking, rank
from gloss.retrieval.index import Retriever
from gloss.runs import FUSED, RunFolder

__all__ = ["Fusion", "was_fused"]

Grounded = Callable[[Sequence[Generation], Retriever], tuple[Ranking, ...]]
Asked = Callable[[Sequence[Question]], Sequence[Ranking]]
Blending = Callable[..., Sequence[Ranking]]
"""Everybody's list of each signal, their questions, and `length`, the items of a list ->
everybody's one list."""


def was_fused(folder: RunFolder) -> bool:
    """Whether the run has come as far as its fused ranking."""
    return (folder.ranking(FUSED) / MANIFEST).is_file()


@dataclass(frozen=True, slots=True)
class Fusion:
    """The language model's titles and other signals, joined as in a run.

    known: the items that signals know; offered: those that may be recommended. Both change apart:
    an index gains and loses items after a run, signals do not.
    """

    known: Catalogue
    offered: Catalogue
    titles: Grounded
    signals: tuple[Asked, ...]
    blend: Blending

    @classmethod
    def load(cls, folder: RunFolder, style: TitleStyle, offered: Catalogue) -> Fusion:
        """Read what the run has fused; graphs are built and networks loaded here, once.

        style: how the run's titles were cleaned. Raises ArtifactError when a part is missing,
        damaged or not the one that was fused, MissingExtraError when what a signal needs is not
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
        signals = tuple(_asked(each, sources) for each in others)
        return cls(sources.catalogue, offered, _grounded(ours), signals, _blending(made, data))

    def knows(self, question: Question) -> bool:
        """Whether the signals know any of the purchases."""
        return any(item in self.known for item in question.history)

    def rank(
        self, generations: Sequence[Generation], retriever: Retriever, *, length: int
    ) -> Sequence[Ranking]:
        """At most `length` items for everybody, in the generations' order.

        Signals are asked about the purchases that they know. Their lists are as long as those that
        were fused, which bounds how long a list can be.
        """
        questions = [self._known(each) for each in generations]
        lists = [self._offered(signal(questions)) for signal in self.signals]
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
    for number, name in enumerate(made.config["signals"], 1):
        part = open_artifact(folder.signal("test", name), rankings.KIND)
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
    """The signal that made a ranking, made again to be asked of others."""
    name = signal_named(part.config["baseline"])
    for role, fingerprint in sources.inputs(name).items():
        part.require_input(role, fingerprint, f"the {role} that lies in the run")
    return partial(
        sources.signal(name, Transitions(**(part.config["settings"] or {}))),
        length=part.config["length"],
        exclude_seen=part.config["exclude_seen"],
    )


def _blending(made: Artifact, data: Dataset) -> Blending:
    if made.config["fusion"] == "trees":
        with made.reading():
            text = made.file(boosting.FILE).read_text("utf-8")
        trees = boosting.Trees(text, made.summary["fitted on users"])
        return partial(boosting.blend, trees=trees, popularity=times_bought(data.train()))
    if made.config["fusion"] == "rank":
        return lambda lists, _, length: blending.rank_fusion(lists, length=length)
    weights = blending.Blend.from_summary(made.summary, made.config["signals"])
    return lambda lists, _, length: blending.blend(lists, weights, length=length)
