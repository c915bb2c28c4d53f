"""The stage `evaluate`: from lists to what they are worth."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from gloss.artifacts import Artifact, Draft, Recipe, fingerprint_of_file, open_artifact
from gloss.choices import SplitName
from gloss.data import generations as generated
from gloss.data.dataset import Dataset
from gloss.data.example_table import ExampleTable
from gloss.data.generations import read_generations
from gloss.data.research_examples import RESEARCH_EXAMPLES, examples_in, require_split
from gloss.data.titles import TitleStyle
from gloss.evaluation import evaluate as evaluations
from gloss.evaluation.beams import beam_figures
from gloss.evaluation.beyond import (
    ListFigures,
    holds_purchases,
    self_information,
    title_figures,
)
from gloss.evaluation.protocol import EvaluationProtocol, require_measurable
from gloss.evaluation.segments import SegmentBounds, default_bounds, segments_of
from gloss.evaluation.targets import TargetRanks, Targets
from gloss.rankings import files as rankings
from gloss.rankings.records import GroundingSummary, config_of
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
    purchase of their user are not said to be without them, whatever the ranking was asked for.

    Lists and examples are read some users at a time, but for what was generated: there all are
    held at once.
    """
    data = Dataset.load(dataset)
    made = open_artifact(ranking, rankings.KIND)
    made.require_input("dataset", data.fingerprint, f"the data set {dataset}")
    listed = config_of(made)
    _require_examples(made, data, listed.split)
    require_measurable(protocol.cutoffs, length=listed.length)
    bounds = bounds or default_bounds(data.name)
    counted = max(protocol.length, *protocol.cutoffs)
    config = evaluations.EvaluationConfig(
        protocol=protocol.name,
        split=listed.split,
        ranker=listed.ranker,
        cutoffs=protocol.cutoffs,
        bounds=bounds,
        index=listed.index,
        rankers=listed.rankers,
        length=counted,
        exclude_seen=listed.exclude_seen
        and not _holds_purchases(made, data, listed.split, counted),
    )
    inputs = {"dataset": data.fingerprint, "ranking": made.fingerprint}
    if generations:
        inputs["generations"] = _fingerprint(generations)
        made.require_input("generations", inputs["generations"], str(generations))

    def fill(draft: Draft) -> None:
        everybody = Targets.of(data.example_parts(listed.split))
        measured, figures = TargetRanks(everybody), _list_figures(data, protocol)
        for part in rankings.read_parts(made):
            lists = part.first(counted)
            measured.add(lists)
            figures.add(lists)
        targets, ranks = measured.ranked()
        beyond: dict[str, Any] = {"lists": figures.figures()}
        if generations:
            beyond |= _written(generations, made, data, listed.split, counted)
        evaluations.write_evaluation(
            draft,
            evaluations.evaluation_of(targets, ranks, protocol.cutoffs, protocol=protocol.name),
            segments=segments_of(targets.lengths, bounds),
            beyond=beyond,
        )
        draft.summary["users of the split"] = len(everybody.users)

    return Recipe(evaluations.KIND, config.to_json(), inputs).make(out, fill)


def _holds_purchases(ranking: Artifact, data: Dataset, split: SplitName, counted: int) -> bool:
    """Whether lists that were to be without purchases hold some: only those of a research file can,
    which may know less of a history than the data set."""
    return RESEARCH_EXAMPLES in ranking.files and holds_purchases(
        *_lists_and_examples(ranking, data, split, counted)
    )


def _lists_and_examples(
    ranking: Artifact, data: Dataset, split: SplitName, counted: int
) -> tuple[RankingTable, ExampleTable]:
    lists = rankings.read_table(ranking)
    return lists.first(counted), evaluations.examples_of(lists, data.examples(split))


def _require_examples(ranking: Artifact, data: Dataset, split: SplitName) -> None:
    """Raise InputError if the ranking is of a research file, and that is of another split."""
    if RESEARCH_EXAMPLES in ranking.files:
        with ranking.reading():
            asked = examples_in(ranking.file(RESEARCH_EXAMPLES).read_text("utf-8"))
        require_split(asked, data, split, what=f"the file behind {ranking.path}")


def _list_figures(data: Dataset, protocol: EvaluationProtocol) -> ListFigures:
    catalogue = data.catalogue(protocol.title_style)
    information = self_information(data.train_rows(), catalogue)
    return ListFigures(protocol.cutoffs, catalogue=catalogue, information=information)


def _written(
    generations: Path, ranking: Artifact, data: Dataset, split: SplitName, counted: int
) -> dict[str, Any]:
    """What was generated: "titles" over all users, "beams" one by one."""
    lists, examples = _lists_and_examples(ranking, data, split, counted)
    written = read_generations(generations)
    catalogue = data.catalogue(_style(generations))
    titles = title_figures(written, set(catalogue.titles))
    beams = beam_figures(written, lists, examples, catalogue=catalogue)
    found_nothing = GroundingSummary.of(ranking).found_nothing
    return {
        "titles": {**asdict(titles), "found_nothing": found_nothing},
        "beams": [asdict(beam) for beam in beams],
    }


def _style(generations: Path) -> TitleStyle:
    """How the titles were cleaned that the model was trained on; the research's file is PAPER."""
    if Path(generations).is_file():
        return "paper"
    return generated.GenerationsConfig.of(open_artifact(generations, generated.KIND)).titles


def _fingerprint(generations: Path) -> str:
    if Path(generations).is_file():
        return fingerprint_of_file(generations)
    return open_artifact(generations, generated.KIND).fingerprint
