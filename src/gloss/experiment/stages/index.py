"""The stage `index`: what a catalogue is searched with."""

from __future__ import annotations

from pathlib import Path

from gloss.artifacts import Artifact
from gloss.data.dataset import Dataset
from gloss.experiment.stages.making import made_once
from gloss.progress import Progress, silent
from gloss.retrieval import index as indexing
from gloss.retrieval.settings import IndexSettings

__all__ = ["index"]


def index(
    dataset: Path, out: Path, *, settings: IndexSettings, progress: Progress = silent
) -> Artifact:
    """Index the catalogue of a data set: the index at `out`."""
    data = Dataset.load(dataset)
    inputs = indexing.index_inputs(data.fingerprint, settings)

    def make() -> None:
        indexing.save_index(data, out, settings, progress=progress)

    return made_once(out, indexing.KIND, settings.model_dump(mode="json"), inputs, make)
