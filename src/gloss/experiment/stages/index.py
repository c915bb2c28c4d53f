"""The stage `index`: what a catalogue is searched with."""

from __future__ import annotations

import logging
from pathlib import Path

from gloss.artifacts import Artifact, Draft, Recipe, open_artifact
from gloss.data.dataset import Dataset
from gloss.errors import ArtifactError
from gloss.progress import Progress, silent
from gloss.retrieval.changes import was_changed
from gloss.retrieval.index import KIND, fetch_what_is_needed, index_recipe, write_index
from gloss.retrieval.settings import IndexSettings

__all__ = ["index"]

_LOG = logging.getLogger(__name__)


def index(
    dataset: Path,
    out: Path,
    *,
    settings: IndexSettings,
    keep_changes: bool = False,
    progress: Progress = silent,
) -> Artifact:
    """Index the catalogue of a data set: the index at `out`.

    keep_changes: whether an index stays that `gloss items` has made of this one; the log says so,
    and it says so too where such an index is replaced.
    """
    data = Dataset.load(dataset)
    fetch_what_is_needed(settings)
    recipe = index_recipe(data.fingerprint, settings)
    changed = _changed(out)
    if changed and keep_changes and _is_of(changed, recipe):
        _LOG.warning(
            "%s was changed by gloss items add or remove: it stays, with %s items, and lists are "
            "made with it. To have the data set's items again, delete the folder",
            out,
            changed.summary["items"],
        )
        return changed

    def fill(draft: Draft) -> None:
        if changed:
            _LOG.warning(
                "%s was changed by gloss items add or remove, and is made anew from the data set: "
                "repeat these commands",
                out,
            )
        write_index(
            draft,
            data.catalogue(settings.title_style),
            settings,
            times_bought=data.times_bought(),
            progress=progress,
        )

    return recipe.make(out, fill)


def _changed(out: Path) -> Artifact | None:
    """The index that stands at `out`, if `gloss items` has changed it."""
    try:
        standing = open_artifact(out, KIND)
    except ArtifactError:
        return None
    return standing if was_changed(standing) else None


def _is_of(changed: Artifact, recipe: Recipe) -> bool:
    """Whether it is the index of this recipe but for its items."""
    return changed.is_of(recipe.config, {**recipe.inputs, "index": changed.inputs["index"]})
