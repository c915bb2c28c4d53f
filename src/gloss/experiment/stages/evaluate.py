"""The stage `evaluate`: from lists to what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gloss.artifacts import Artifact, fingerprint_of_file, open_artifact
from gloss.data import generations as generated
from gloss.data.dataset import Dataset
from gloss.data.generations import read_generations
from gloss.data.histories import Example
from gloss.data.questions import QUESTIONS, questions_in, require_split
from gloss.data.titles import TitleStyle
from gloss.evaluation import evaluate as evaluations
from gloss.evaluation.beams import beam_figures
from gloss.evaluation.beyond import (
    catalogue_coverage,
    holds_purchases,
    novelty,
    self_information,
    title_figures,
)
from gloss.evaluation.evaluate import save_evaluation
from gloss.evaluation.protocol import EvaluationProtocol, require_measurable
from gloss.evaluation.segments import SegmentBounds, default_bounds, segments_of
from gloss.experiment.stages.making import made_once
from gloss.rankings import files as rankings
from gloss.rankings.table import RankingTable

__all__ = ["evaluate"]


def evaluate(
    ranking: Path,
    dataset: Path,
    out: Path,
    *,
    protocol: EvaluationProtocol,
    bounds: SegmentBounds | None = None,
    generations: Path | None = None,
) -> Artifact:
    """Measure a ranking against what was bought next: the evaluation at `out`.

    With the generations that the ranking was made from, titles and beams are measured too. Of
    longer lists than the protocol's, made to be fused, only as much counts. Lists that hold a
    purchase of their user are not said to be without them, whatever the ranking was asked for (a
    research file may know less of a history than the data set).
    """
    data = Dataset.load(dataset)
    made, lists = rankings.load_rankings(ranking)
    made.require_input("dataset", data.fingerprint, f"the data set {dataset}")
    _require_questions(made, data)
    require_measurable(protocol.cutoffs, length=made.config["length"])
    bounds = bounds or default_bounds(data.name)
    counted = max(protocol.length, *protocol.cutoffs)
    everybody = data.examples(made.config["split"])
    examples = evaluations.examples_of(lists, everybody)
    cut = lists.first(counted)
    config = {
        "protocol": protocol.name,
        "split": made.config["split"],
        "ranker": made.config.get("ranker"),
        "cutoffs": protocol.cutoffs,
        "bounds": asdict(bounds),
        "index": made.config.get("index"),
        "rankers": made.config.get("rankers"),
        "length": counted,
        "exclude_seen": made.config.get("exclude_seen") and not holds_purchases(cut, examples),
    }
    inputs = {"dataset": data.fingerprint, "ranking": made.fingerprint}
    if generations:
        inputs["generations"] = _fingerprint(generations)
        made.require_input("generations", inputs["generations"], str(generations))

    def make() -> None:
        beyond = {"lists": _lists(cut, data, protocol)}
        if generations:
            beyond |= _written(generations, made, cut, data, examples)
        result = evaluations.evaluate(cut, examples, protocol.cutoffs, protocol=protocol.name)
        save_evaluation(
            out,
            result,
            segments=segments_of(examples, bounds),
            config=config,
            inputs=inputs,
            summary={"users of the split": len(everybody)},
            beyond=beyond,
        )

    return made_once(out, evaluations.KIND, config, inputs, make)


def _require_questions(ranking: Artifact, data: Dataset) -> None:
    """Raise InputError if the ranking is of a research file, and that is of another split."""
    if QUESTIONS in ranking.files:
        with ranking.reading():
            asked = questions_in(ranking.file(QUESTIONS).read_text("utf-8"))
        require_split(asked, data, ranking.config["split"], what=f"the file behind {ranking.path}")


def _lists(lists: RankingTable, data: Dataset, protocol: EvaluationProtocol) -> dict[str, float]:
    """What the lists are like: "coverage@k", "novelty@k", "users without a list"."""
    catalogue = data.catalogue(protocol.title_style)
    information = self_information(data.train(), catalogue)
    return {
        **catalogue_coverage(lists, protocol.cutoffs, catalogue=catalogue),
        **novelty(lists, protocol.cutoffs, information=information, catalogue=catalogue),
        "users without a list": int((lists.lengths == 0).sum()),
    }


def _written(
    generations: Path,
    ranking: Artifact,
    lists: RankingTable,
    data: Dataset,
    examples: Sequence[Example],
) -> dict[str, Any]:
    """What was generated: "titles" over all users, "beams" one by one."""
    written = read_generations(generations)
    catalogue = data.catalogue(_style(generations))
    titles = title_figures(written, set(catalogue.titles))
    beams = beam_figures(written, lists, examples, catalogue=catalogue)
    found_nothing = ranking.summary["queries that found nothing"]
    return {
        "titles": {**asdict(titles), "found_nothing": found_nothing},
        "beams": [asdict(beam) for beam in beams],
    }


def _style(generations: Path) -> TitleStyle:
    """How the titles were cleaned that the model was trained on; the research's file is PAPER."""
    if Path(generations).is_file():
        return "paper"
    style: TitleStyle = open_artifact(generations, generated.KIND).config["titles"]
    return style


def _fingerprint(generations: Path) -> str:
    if Path(generations).is_file():
        return fingerprint_of_file(generations)
    return open_artifact(generations, generated.KIND).fingerprint
