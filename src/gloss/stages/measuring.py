"""The stage `evaluate`: from lists to what they are worth."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from gloss.artifacts import Artifact
from gloss.data.dataset import Dataset
from gloss.evaluation import evaluate as evaluations
from gloss.evaluation.evaluate import save_evaluation
from gloss.evaluation.protocol import EvaluationProtocol, require_measurable
from gloss.evaluation.segments import SegmentBounds, default_bounds, segments_of
from gloss.retrieval import rankings
from gloss.retrieval.fusion import Ranking
from gloss.stages.making import made_once

__all__ = ["evaluate"]


def evaluate(
    ranking: Path,
    dataset: Path,
    out: Path,
    *,
    protocol: EvaluationProtocol,
    bounds: SegmentBounds | None = None,
) -> Artifact:
    """Measure a ranking against what was bought next: the evaluation at `out`.

    Of longer lists than the protocol's, made to be fused, only as much counts.
    """
    data = Dataset.load(dataset)
    made, lists = rankings.load_rankings(ranking)
    made.require_input("dataset", data.fingerprint, f"the data set {dataset}")
    require_measurable(protocol.cutoffs, length=made.config["length"])
    bounds = bounds or default_bounds(data.name)
    counted = max(protocol.length, *protocol.cutoffs)
    config = {
        "protocol": protocol.name,
        "split": made.config["split"],
        "baseline": made.config.get("baseline"),
        "cutoffs": protocol.cutoffs,
        "bounds": asdict(bounds),
        "length": counted,
    }
    inputs = {"dataset": data.fingerprint, "ranking": made.fingerprint}

    def make() -> None:
        examples = data.examples(made.config["split"])
        cut = [Ranking(each.user, each.entries[:counted]) for each in lists]
        result = evaluations.evaluate(cut, examples, protocol.cutoffs, protocol=protocol.name)
        save_evaluation(
            out,
            result,
            segments=segments_of(examples[: len(result.users)], bounds),
            config=config,
            inputs=inputs,
            summary={},
        )

    return made_once(out, evaluations.KIND, config, inputs, make)
