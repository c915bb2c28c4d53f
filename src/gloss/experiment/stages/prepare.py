"""The stage `prepare`: from a source to a data set."""

from __future__ import annotations

from pathlib import Path

from gloss.artifacts import Artifact
from gloss.config import TableData
from gloss.data import dataset as datasets
from gloss.data.sources import DataSettings, located, name_of, read_source, source_files
from gloss.experiment.stages.making import made_once
from gloss.progress import Progress, silent

__all__ = ["prepare"]

_PATHS = {"folder", "mirrors", "interactions", "items"}


def prepare(settings: DataSettings, out: Path, *, progress: Progress = silent) -> Artifact:
    """Read a source, clean it and split it: the data set at `out`."""
    settings = located(settings, progress=progress)
    config = {"name": name_of(settings), **settings.model_dump(mode="json", exclude=_PATHS)}
    inputs = source_files(settings)

    def make() -> None:
        least = settings.min_purchases if isinstance(settings, TableData) else 0
        data = datasets.prepare(
            read_source(settings),
            split=settings.split,
            min_purchases=least,
            keep_unbought=isinstance(settings, TableData),
        )
        datasets.save(data, out, config=config, inputs=inputs)

    return made_once(out, datasets.KIND, config, inputs, make)
