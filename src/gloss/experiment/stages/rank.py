"""The stage `rank`: from generated titles to lists of items."""

from __future__ import annotations

from pathlib import Path

from gloss.artifacts import Artifact, Draft, Recipe, fingerprint_of_file, open_artifact
from gloss.choices import SplitName
from gloss.data import generations as generated
from gloss.data.generations import read_generations
from gloss.evaluation.protocol import EvaluationProtocol
from gloss.rankings import files as rankings
from gloss.rankings.records import GroundingSummary, TitleRankingConfig
from gloss.retrieval.grounding import fuse_all, ground, ungrounded
from gloss.retrieval.index import load_index

__all__ = ["rank"]


def rank(generations: Path, index: Path, out: Path, *, protocol: EvaluationProtocol) -> Artifact:
    """Find the items that generated titles mean: the ranking at `out`.

    `generations` is our artefact or the research repository's JSON.
    """
    found = load_index(index)
    source, split = _generations_source(generations, found.artifact)
    rule = protocol.fusion_of(found.settings.retriever)
    config = TitleRankingConfig(
        split=split,
        per_query=protocol.per_query,
        fusion=rule,
        length=protocol.length,
        exclude_seen=protocol.exclude_seen,
        index=found.artifact.config,
    )
    inputs = {
        "dataset": found.artifact.inputs["dataset"],
        "generations": source,
        "index": found.fingerprint,
    }

    def fill(draft: Draft) -> None:
        written = read_generations(generations)
        hits = ground(written, found.retriever, per_query=protocol.per_query)
        lists = fuse_all(
            written,
            hits,
            rule=rule,
            length=protocol.length,
            exclude_seen=protocol.exclude_seen,
        )
        summary = GroundingSummary(
            queries=sum(len(each.queries) for each in written),
            found_nothing=ungrounded(written, hits),
        )
        rankings.write_rankings(draft, lists, summary=summary.to_json())

    return Recipe(rankings.KIND, config.to_json(), inputs).make(out, fill)


def _generations_source(path: Path, index: Artifact) -> tuple[str, SplitName]:
    """The fingerprint of generations and the split they are for; they must fit the index."""
    if Path(path).is_file():
        return fingerprint_of_file(path), "test"
    artifact = open_artifact(path, generated.KIND)
    artifact.require_input(
        "dataset", index.inputs["dataset"], f"the index {index.path}, whose data set is another"
    )
    return artifact.fingerprint, generated.GenerationsConfig.of(artifact).split
