"""The whole recommender as one object: titles of purchases in, items out, with the reason.

>>> recommender = Recommender.load(Path("runs/demo"))                      # doctest: +SKIP
>>> [(best, *_)] = recommender.recommend([["Fernhill Sketch Pad, A4"]])     # doctest: +SKIP
>>> best.title, best.why                                                   # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gloss.config import Decoding
from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.generations import Generation
from gloss.data.histories import UserId
from gloss.data.titles import clean_title
from gloss.errors import InputError, require_extra
from gloss.evaluation.protocol import EvaluationProtocol
from gloss.experiment.loading import load_experiment
from gloss.experiment.pipeline import protocol_of
from gloss.experiment.run_folder import RunFolder
from gloss.experiment.settings import Experiment
from gloss.prompts import Prompt, PromptBuilder
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.recommender.fused import Fusion, was_fused
from gloss.retrieval.grounding import rank
from gloss.retrieval.index import load_index
from gloss.retrieval.retriever import Retriever

if TYPE_CHECKING:
    from gloss.decoding.generator import Generator

__all__ = ["Reason", "Recommendation", "Recommender"]

Reason = Literal["written", "bought"]


@dataclass(frozen=True, slots=True)
class Recommendation:
    """An item to show.

    score: see the fusion rule, or the blend; those of two lists do not compare. why: the title that
    led to it; reason: whether the model has written that title, or it was bought.
    """

    item: ItemId
    title: str
    score: float
    why: str | None
    reason: Reason | None


class Recommender:
    """Prompts + language model + decoder + retriever + fusion.

    fusion: what the language model is joined with; None where it serves alone.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        prompts: PromptBuilder,
        generator: Generator,
        retriever: Retriever,
        protocol: EvaluationProtocol,
        fusion: Fusion | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.prompts = prompts
        self.generator = generator
        self.retriever = retriever
        self.protocol = protocol
        self.fusion = fusion

    @classmethod
    def load(
        cls, run: Path, *, decoding: Decoding | None = None, fused: bool | None = None
    ) -> Recommender:
        """The recommender that `gloss run` left in a run folder, decoding as the run did.

        fused: whether the language model is joined with the run's other rankers, as in the run's
        fused ranking; without a word, where the experiment uses rankers and they have been fused.
        Graphs are built, vectors and networks loaded here, not at a call.

        Raises InputError or ArtifactError when something is missing or damaged, MissingExtraError
        when what the language model or a ranker needs is not installed.
        """
        require_extra("recommending", "train", "torch", "transformers")
        from gloss.decoding.open import open_generator

        folder = RunFolder.open(run)
        experiment = load_experiment(folder.config)
        index, protocol = load_index(folder.index), protocol_of(experiment)
        style, offered = protocol.title_style, index.catalogue
        joined = _is_fused(folder, experiment, fused)
        fusion = Fusion.load(folder, style, offered) if joined else None
        generator = open_generator(folder.model, decoding or experiment.decoding, offered)
        return cls(
            offered,
            generator.prompt_builder(),
            generator,
            index.retriever,
            replace(protocol, fusion=protocol.fusion_of(index.settings.retriever)),
            fusion,
        )

    def recommend(
        self, histories: Sequence[Sequence[str]], k: int = 10
    ) -> list[tuple[Recommendation, ...]]:
        """At most `k` items for each history of titles, earliest first.

        Titles need not be in the catalogue: the language model reads them all. Those that are count
        as purchases of every item of that title. Purchases are what other rankers know, and are not
        recommended again where the protocol leaves out what was bought. A history without any is
        served by the language model alone, where it is otherwise joined with rankers.
        """
        prompts = [self._prompt(place, titles) for place, titles in enumerate(histories)]
        return [self._recommendations(ranking) for ranking in self.rank(prompts, k)]

    def rank(self, prompts: Sequence[Prompt], k: int = 10) -> list[Ranking]:
        """At most `k` items for each prompt, in their order.

        For those who know items, not titles: `prompts.build_all` makes prompts of them. Where the
        language model is joined with rankers, test users get the lists that the run has fused.
        """
        written = self.generator.generate(prompts)
        if self.fusion is None:
            return self._alone(written, k)
        known = [self.fusion.knows(each) for each in written]
        joined = [each for each, is_known in zip(written, known, strict=True) if is_known]
        others = [each for each, is_known in zip(written, known, strict=True) if not is_known]
        fused = iter(self.fusion.rank(joined, self.retriever, length=k))
        alone = iter(self._alone(others, k))
        return [next(fused if is_known else alone) for is_known in known]

    def _alone(self, written: Sequence[Generation], k: int) -> list[Ranking]:
        rankings = rank(
            written,
            self.retriever,
            rule=self.protocol.fusion_of("bm25"),  # `load` has fixed it for another
            per_query=max(self.protocol.per_query, k),
            length=k,
            exclude_seen=self.protocol.exclude_seen,
        )
        return list(rankings)

    def _prompt(self, place: int, titles: Sequence[str]) -> Prompt:
        cleaned = [clean_title(title, self.protocol.title_style) for title in titles]
        prompt = self.prompts.build(UserId(str(place)), (), cleaned)
        rows = [row for title in cleaned for row in self.catalogue.rows_of_title(title)]
        return replace(prompt, history=tuple(self.catalogue[row].id for row in rows))

    def _recommendations(self, ranking: Ranking) -> tuple[Recommendation, ...]:
        return tuple(map(self._recommendation, ranking.entries))

    def _recommendation(self, entry: RankedItem) -> Recommendation:
        why, reason = self._why(entry)
        title = self.catalogue.title(entry.item)
        return Recommendation(entry.item, title, entry.score, why, reason)

    def _why(self, entry: RankedItem) -> tuple[str | None, Reason | None]:
        if entry.because is not None:  # also where the title of a purchase was the query
            return self.catalogue.title(entry.because), "bought"
        if entry.query is not None:
            return entry.query, "written"
        return None, None


def _is_fused(folder: RunFolder, experiment: Experiment, wanted: bool | None) -> bool:
    """Whether to serve the fused ranking. Raises InputError when it is wanted and not there."""
    if not experiment.rankers.use:
        missing = "its experiment uses no rankers"
    elif not was_fused(folder):
        missing = "finish it with `gloss run`"
    else:
        return wanted is not False
    if wanted:
        raise InputError(f"{folder.path} has no fused ranking: {missing}")
    return False
