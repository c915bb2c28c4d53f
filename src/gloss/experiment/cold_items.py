"""Items that came after the training of a run: the evaluation protocol `cold-items`.

A run of `data.cold_items` has not seen a share of the items. Here its bundle is made, brought up to
date with them as `gloss update` does, and asked: what the parts and the fused list then are worth,
for answers that are such items, and for all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gloss.artifacts import Artifact, Draft, Recipe, open_artifact, read_artifact
from gloss.artifacts.content import read_json
from gloss.data.dataset import Dataset
from gloss.data.histories import Example
from gloss.errors import InputError
from gloss.evaluation import cold_items as protocol
from gloss.evaluation.cold_items import ColdItemsEvaluation
from gloss.evaluation.evaluate import Evaluation, evaluate
from gloss.evaluation.protocol import EvaluationProtocol
from gloss.experiment import stages
from gloss.experiment.bundling import bundle
from gloss.experiment.following import on_data, protocol_of
from gloss.experiment.loading import load_experiment
from gloss.experiment.pipeline import Announce, quietly
from gloss.experiment.run_folder import FUSED, OURS, RANKERS, RunFolder
from gloss.progress import Progress
from gloss.rankings import files as rankings
from gloss.rankings.records import FUSED_LIST
from gloss.rankings.table import RankingTable
from gloss.recommender import updating
from gloss.recommender.bundle import Bundle, open_bundle
from gloss.recommender.histories import read_history
from gloss.recommender.lists import ListRequest, Lists

__all__ = ["KIND", "measure", "read_figures"]

KIND = protocol.NAME

_FIGURES = "cold-items.json"
_USERS_AT_ONCE = 1000
"""Bounds memory: each part lists hundreds of items for each of them."""


def measure(run: Path, *, model: bool = True, announce: Announce = quietly) -> Artifact:
    """Measure a run of `data.cold_items`: the artefact in its folder `cold-items/evaluation`.

    model: whether the language model is among the parts. What is done and whole is not done again.
    Raises InputError when the run holds no items out, and what `bundle` and `update` raise.
    """
    folder = RunFolder.open(Path(run))
    data = Dataset.load(folder.data)
    if not data.holds_out_items:
        raise InputError(f"{run} holds no items out: run it with data.cold_items=0.1")
    out = folder.cold_items
    with announce("cold items: bundle"):
        made = bundle(folder.path, out / "bundle", model=model, guarded=False)
    with announce("cold items: update") as progress:
        grown = stages.bring_items(folder.data, out / "data")
        old, dataset = open_bundle(made.path), Dataset.load(grown.path)
        updated = updating.update(old, dataset, out / "updated", progress=progress)
    with announce("cold items: ask") as progress:
        return _evaluated(folder, data, open_bundle(updated.path), progress)


def read_figures(artifact: Artifact) -> dict[str, Any]:
    """What was measured, as `ColdItemsEvaluation.figures` has it."""
    return read_artifact(artifact.path, KIND, lambda found: read_json(found.file(_FIGURES), dict))


def _evaluated(folder: RunFolder, data: Dataset, bundle: Bundle, progress: Progress) -> Artifact:
    experiment = on_data(load_experiment(folder.config), data)
    how = protocol_of(experiment)
    before = _before(folder, bundle)
    inputs = {"dataset": data.fingerprint, "bundle": bundle.fingerprint}
    inputs |= {f"ranking {name}": ranking.fingerprint for name, ranking in before.items()}
    config = {"protocol": how.name, "cutoffs": list(how.cutoffs), "length": how.length}

    def fill(draft: Draft) -> None:
        cold = data.cold_examples(limit=experiment.limit_users)
        others = data.examples("test", limit=experiment.limit_users)
        lists, total = Lists(bundle), len(cold) + len(others)
        found = ColdItemsEvaluation(
            _measured(_asked(lists, cold, how, progress, 0, total), cold, how),
            _measured({n: rankings.read_table(r) for n, r in before.items()}, others, how),
            _measured(_asked(lists, others, how, progress, len(cold), total), others, how),
        )
        draft.write_json(_FIGURES, found.figures())
        draft.summary.update(
            {"items": data.summary["cold items"], "cold": len(cold), "others": len(others)}
        )

    return Recipe(KIND, config, inputs).make(folder.cold_items / "evaluation", fill)


def _before(folder: RunFolder, bundle: Bundle) -> dict[str, Artifact]:
    """The run's own rankings of the bundle's parts, and of what joins them."""
    names = [part.name for part in bundle.settings.rankers]
    if bundle.settings.model:
        names = [OURS, *names]
    if len(names) == 1:
        alone = folder.ranking(OURS) if names == [OURS] else folder.ranker("test", names[0])
        return {names[0]: open_artifact(alone, rankings.KIND)}
    paths = {name: folder.ranker("test", name) for name in names}
    paths[FUSED_LIST] = folder.ranking(FUSED if bundle.settings.model else RANKERS)
    return {name: open_artifact(path, rankings.KIND) for name, path in paths.items()}


def _asked(
    lists: Lists,
    examples: Sequence[Example],
    how: EvaluationProtocol,
    progress: Progress,
    done: int,
    total: int,
) -> dict[str, RankingTable]:
    """The lists of each part and the fused one, as long as they are measured."""
    request = ListRequest(None, how.exclude_seen, how.length, fills_up=False)
    parts: dict[str, list[RankingTable]] = {}
    for start in range(0, len(examples), _USERS_AT_ONCE):
        asked = examples[start : start + _USERS_AT_ONCE]
        read = [read_history(e.user, e.history, lists.catalogue, how.title_style) for e in asked]
        found = lists.of_parts(read, request)
        fused = lists.fused(found, read, request)
        if fused is not None:
            found[FUSED_LIST] = fused
        for name, table in found.items():
            parts.setdefault(name, []).append(table.first(how.length))
        progress(done + start + len(asked), total)
    return {name: RankingTable.joined(tables) for name, tables in parts.items()}


def _measured(
    lists: Mapping[str, RankingTable], examples: Sequence[Example], how: EvaluationProtocol
) -> dict[str, Evaluation]:
    return {
        name: evaluate(table.first(how.length), examples, how.cutoffs, protocol=protocol.NAME)
        for name, table in lists.items()
    }
