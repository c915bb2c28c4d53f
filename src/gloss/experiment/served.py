"""Which of a run's lists people would be shown: a fused one, or its best part alone."""

from __future__ import annotations

from gloss.artifacts import MANIFEST, Artifact, open_artifact
from gloss.experiment.run_folder import FUSED, OURS, RANKERS, RunFolder
from gloss.rankings import files as rankings
from gloss.rankings.records import FUSED_LIST, FusionSummary

__all__ = ["served_list"]


def served_list(
    folder: RunFolder, *, model: bool | None = None, guarded: bool = True
) -> tuple[str, Artifact] | None:
    """The name and the ranking of what a run that fuses lists would serve; None before it fuses.

    Of the fused lists with and without the language model, the first that is better than its parts;
    where neither is, the best part of the first. model: True for the one with it, whatever it is
    worth; False for the one without it, or its best part. guarded: False for a fused list, whatever
    it is worth.
    """
    names = {None: (FUSED, RANKERS), True: (FUSED,), False: (RANKERS,)}[model]
    made = [name for name in names if (folder.ranking(name) / MANIFEST).is_file()]
    fused = {name: open_artifact(folder.ranking(name), rankings.KIND) for name in made}
    for name, ranking in fused.items():
        if model or not guarded or FusionSummary.of(ranking).served == FUSED_LIST:
            return name, ranking
    for ranking in fused.values():
        return _alone(folder, FusionSummary.of(ranking).served)
    return None


def _alone(folder: RunFolder, part: str) -> tuple[str, Artifact]:
    """The list of one ranker; the language model's with neighbours of its titles."""
    path = folder.ranking(OURS) if part == OURS else folder.ranker("test", part)
    return part, open_artifact(path, rankings.KIND)
