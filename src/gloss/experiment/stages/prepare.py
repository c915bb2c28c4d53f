"""The stage `prepare`: from a source to a data set."""

from __future__ import annotations

from pathlib import Path

from gloss.artifacts import Artifact, Draft, Recipe
from gloss.config import AmazonData, TableData
from gloss.data import dataset as datasets
from gloss.data.readers.sources import DataSettings, located, name_of
from gloss.experiment.stages.warnings import log_warnings
from gloss.progress import Progress, silent

__all__ = ["prepare"]

_PATHS = {"folder", "mirrors", "interactions", "items"}
_COLD = {"cold_items", "cold_seed"}


def prepare(settings: DataSettings, out: Path, *, progress: Progress = silent) -> Artifact:
    """Read a source, clean it and split it: the data set at `out`.

    It is made again when a file of the source has another content, is new or is gone. What the
    summary warns of is logged, so that it is said before anything is trained.
    """
    source = located(settings, progress=progress)
    cold = None
    if settings.cold_items:
        cold = datasets.ColdRule(settings.cold_items, settings.cold_seed)
    left_out = _PATHS if cold else _PATHS | _COLD
    config = datasets.DatasetConfig(
        name=name_of(settings), **settings.model_dump(mode="json", exclude=left_out)
    )

    def fill(draft: Draft) -> None:
        cleaning = _cleaning(settings, source.tables)
        data = datasets.prepare(source.read(), split=settings.split, cleaning=cleaning, cold=cold)
        datasets.write_dataset(draft, data)

    made = Recipe(datasets.KIND, config.to_json(), source.inputs).make(out, fill)
    log_warnings(datasets.DatasetSummary.of(made).warnings)
    return made


def _cleaning(settings: DataSettings, tables: TableData | None) -> datasets.Cleaning:
    if tables is None:
        least = settings.min_purchases if isinstance(settings, AmazonData) else 0
        return datasets.Cleaning(min_purchases=least)
    return datasets.Cleaning(
        min_purchases=tables.min_purchases,
        min_user_purchases=tables.min_user_purchases,
        min_item_purchases=tables.min_item_purchases,
        drop_repeats=tables.drop_repeats,
        keep_unbought=tables.keep_unbought,
        unknown_share=tables.unknown_share,
    )
