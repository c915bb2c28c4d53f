"""The stage `index`: what a catalogue is searched with."""

from __future__ import annotations

from pathlib import Path

from gloss.artifacts import Artifact, Draft
from gloss.data.dataset import Dataset
from gloss.progress import Progress, silent
from gloss.retrieval.index import index_recipe, write_index
from gloss.retrieval.settings import IndexSettings

__all__ = ["index"]


def index(
    dataset: Path, out: Path, *, settings: IndexSettings, progress: Progress = silent
) -> Artifact:
    """Index the catalogue of a data set: the index at `out`."""
    data = Dataset.load(dataset)

    def fill(draft: Draft) -> None:
        write_index(draft, data.catalogue(settings.title_style), settings, progress=progress)

    return index_recipe(data.fingerprint, settings).make(out, fill)
