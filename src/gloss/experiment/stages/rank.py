"""The stages `index`, `rank` and `baseline`: from titles, or a bare history, to lists."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from gloss.artifacts import Artifact, fingerprint_of_file, open_artifact
from gloss.data import generations as generated
from gloss.data.dataset import Dataset, SplitName
from gloss.data.generations import read_generations
from gloss.errors import ConfigError
from gloss.evaluation.protocol import EvaluationProtocol
from gloss.experiment.stages.making import made_once
from gloss.progress import Progress, silent
from gloss.rankers.last_item import last_item_search
from gloss.rankers.popularity import popularity
from gloss.rankings import files as rankings
from gloss.retrieval import index as indexing
from gloss.retrieval.grounding import fuse_all, ground, ungrounded
from gloss.retrieval.index import load_index, save_index
from gloss.retrieval.retriever import IndexSettings

__all__ = ["BASELINES", "baseline", "index", "rank"]

BASELINES = ("last-item", "popularity")


def index(
    dataset: Path, out: Path, *, settings: IndexSettings, progress: Progress = silent
) -> Artifact:
    """Index the catalogue of a data set: the index at `out`."""
    encoder = indexing.encoder_input(indexing.encoder_of(settings))
    inputs = {"dataset": Dataset.load(dataset).fingerprint, **encoder}

    def make() -> None:
        save_index(Dataset.load(dataset), out, settings, progress=progress)

    return made_once(out, indexing.KIND, asdict(settings), inputs, make)


def rank(generations: Path, index: Path, out: Path, *, protocol: EvaluationProtocol) -> Artifact:
    """Find the items that generated titles mean: the ranking at `out`.

    `generations` is our artefact or the research repository's JSON.
    """
    found = load_index(index)
    source, split = _generations_source(generations, found.artifact)
    rule = protocol.fusion_of(found.settings.retriever)
    config = {
        "split": split,
        "per_query": protocol.per_query,
        "fusion": rule,
        "length": protocol.length,
        "exclude_seen": protocol.exclude_seen,
        "index": asdict(found.settings),
    }
    inputs = {
        "dataset": found.artifact.inputs["dataset"],
        "generations": source,
        "index": found.fingerprint,
    }

    def make() -> None:
        written = read_generations(generations)
        hits = ground(written, found.retriever, per_query=protocol.per_query)
        lists = fuse_all(
            written,
            hits,
            rule=rule,
            length=protocol.length,
            exclude_seen=protocol.exclude_seen,
        )
        queries = sum(len(each.queries) for each in written)
        summary = {"queries": queries, "queries that found nothing": ungrounded(written, hits)}
        rankings.save_rankings(out, lists, config=config, inputs=inputs, summary=summary)

    return made_once(out, rankings.KIND, config, inputs, make)


def baseline(
    name: str,
    dataset: Path,
    out: Path,
    *,
    protocol: EvaluationProtocol,
    split: SplitName = "test",
    index: Path | None = None,
    settings: IndexSettings | None = None,
    limit_users: int | None = None,
    progress: Progress = silent,
) -> Artifact:
    """Rank without a language model, by "last-item" search or "popularity": the ranking at `out`.

    Last-item search takes an index, or builds one in memory: by its settings, if they are given,
    or the protocol's own.
    """
    if name not in BASELINES:
        raise ConfigError(f"unknown baseline {name!r}, known are {', '.join(BASELINES)}")
    data = Dataset.load(dataset)
    found = load_index(index) if index else None
    settings = found.settings if found else settings or protocol.index_settings()
    config = {
        "baseline": name,
        "split": split,
        "titles": protocol.title_style,
        "length": protocol.length,
        "exclude_seen": protocol.exclude_seen,
        "limit_users": limit_users,
        "index": asdict(settings),
    }
    encoder = indexing.encoder_input(indexing.encoder_of(settings))
    inputs = {"dataset": data.fingerprint, **encoder}
    if found:
        found.artifact.require_input("dataset", data.fingerprint, f"the data set {dataset}")
        inputs["index"] = found.fingerprint

    def make() -> None:
        catalogue = found.catalogue if found else data.catalogue(protocol.title_style)
        examples = data.examples(split, limit=limit_users)
        length, exclude = protocol.length, protocol.exclude_seen
        if name == "popularity":
            lists = popularity(
                data.train(), examples, catalogue, length=length, exclude_seen=exclude
            )
        else:
            retriever = (
                found.retriever
                if found
                else indexing.build_index(catalogue, settings, progress=progress)
            )
            lists = last_item_search(
                examples, catalogue, retriever, length=length, exclude_seen=exclude
            )
        rankings.save_rankings(out, lists, config=config, inputs=inputs, summary={})

    return made_once(out, rankings.KIND, config, inputs, make)


def _generations_source(path: Path, index: Artifact) -> tuple[str, str]:
    """The fingerprint of generations and the split they are for; they must fit the index."""
    if Path(path).is_file():
        return fingerprint_of_file(path), "test"
    artifact = open_artifact(path, generated.KIND)
    artifact.require_input(
        "dataset", index.inputs["dataset"], f"the index {index.path}, whose data set is another"
    )
    return artifact.fingerprint, artifact.config["split"]
