"""The stage `export`: a ranking and its answers as files that other tools read."""

from __future__ import annotations

from pathlib import Path

from gloss.artifacts import Artifact, Draft, Recipe, write_atomic
from gloss.data.dataset import Dataset
from gloss.evaluation.evaluate import examples_of
from gloss.evaluation.trec import QRELS, RUN, qrels_lines, run_lines
from gloss.rankings import files as rankings
from gloss.rankings.records import config_of

__all__ = ["export"]

KIND = "trec"


def export(ranking: Path, dataset: Path, out: Path) -> Artifact:
    """TREC's run and qrels of a ranking, in the folder `out`."""
    data = Dataset.load(dataset)
    made, lists = rankings.load_rankings(ranking)
    made.require_input("dataset", data.fingerprint, f"the data set {dataset}")
    config = config_of(made)

    def fill(draft: Draft) -> None:
        asked = examples_of(lists, data.examples(config.split))
        for name, lines in {
            RUN: run_lines(lists, tag=config.made_by),
            QRELS: qrels_lines(asked),
        }.items():
            write_atomic(draft.path / name, "".join(f"{line}\n" for line in lines).encode())
        entries = sum(len(ranking.entries) for ranking in lists)
        draft.summary.update({"users": len(asked), "entries": entries})

    inputs = {"dataset": data.fingerprint, "ranking": made.fingerprint}
    return Recipe(KIND, {"tag": config.made_by}, inputs).make(out, fill)
