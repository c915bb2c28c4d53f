"""The whole recommender as one object: titles of purchases in, items out, with the reason.

>>> recommender = Recommender.load(Path("runs/demo"))                      # doctest: +SKIP
>>> [(best, *_)] = recommender.recommend([["Fernhill Sketch Pad, A4"]])     # doctest: +SKIP
>>> best.title, best.why                                                   # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gloss.config import Decoding
from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import UserId
from gloss.data.titles import clean_title
from gloss.decoding.generator import Generator, TransformersGenerator
from gloss.evaluation.protocol import EvaluationProtocol
from gloss.experiments import load_experiment
from gloss.language.loading import load_language_model
from gloss.pipeline import protocol_of
from gloss.prompts import Prompt, PromptBuilder
from gloss.retrieval.fusion import Ranking, rank
from gloss.retrieval.index import Retriever
from gloss.retrieval.indexing import load_index
from gloss.runs import RunFolder

__all__ = ["Recommendation", "Recommender"]


@dataclass(frozen=True, slots=True)
class Recommendation:
    """An item to show. score: see the fusion rule; why: the generated title that led to it."""

    item: ItemId
    title: str
    score: float
    why: str | None


class Recommender:
    """Prompts + language model + decoder + retriever + fusion."""

    def __init__(
        self,
        catalogue: Catalogue,
        prompts: PromptBuilder,
        generator: Generator,
        retriever: Retriever,
        protocol: EvaluationProtocol,
    ) -> None:
        self.catalogue = catalogue
        self.prompts = prompts
        self.generator = generator
        self.retriever = retriever
        self.protocol = protocol

    @classmethod
    def load(cls, run: Path, *, decoding: Decoding | None = None) -> Recommender:
        """The recommender that `gloss run` left in a run folder, decoding as the run did.

        Raises InputError or ArtifactError when something is missing or damaged.
        """
        folder = RunFolder.open(run)
        experiment = load_experiment(folder.config)
        index, protocol = load_index(folder.index), protocol_of(experiment)
        generator = TransformersGenerator(
            load_language_model(folder.model), decoding or experiment.decoding, index.catalogue
        )
        return cls(
            index.catalogue,
            generator.prompt_builder(),
            generator,
            index.retriever,
            replace(protocol, fusion=protocol.fusion_of(index.settings.retriever)),
        )

    def recommend(
        self, histories: Sequence[Sequence[str]], k: int = 10
    ) -> list[tuple[Recommendation, ...]]:
        """At most `k` items for each history of titles, earliest first.

        Titles need not be in the catalogue; items of titles that are, are not recommended again
        where the protocol leaves out what was bought.
        """
        prompts = [self._prompt(place, titles) for place, titles in enumerate(histories)]
        protocol = replace(self.protocol, length=k)
        rankings = rank(
            self.generator.generate(prompts),
            self.retriever,
            rule=protocol.fusion_of("bm25"),  # `load` has fixed it for another
            per_query=max(protocol.per_query, k),
            length=k,
            exclude_seen=protocol.exclude_seen,
        )
        return [self._recommendations(ranking) for ranking in rankings]

    def _prompt(self, place: int, titles: Sequence[str]) -> Prompt:
        cleaned = [clean_title(title, self.protocol.title_style) for title in titles]
        prompt = self.prompts.build(UserId(str(place)), (), cleaned)
        rows = [row for title in cleaned for row in self.catalogue.rows_of_title(title)]
        return replace(prompt, history=tuple(self.catalogue[row].id for row in rows))

    def _recommendations(self, ranking: Ranking) -> tuple[Recommendation, ...]:
        return tuple(
            Recommendation(entry.item, self.catalogue.title(entry.item), entry.score, entry.query)
            for entry in ranking.entries
        )
