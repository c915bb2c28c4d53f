"""What `gloss run --dry-run` says: the settings as they would be used, and what training costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from gloss.artifacts import MANIFEST
from gloss.config import AmazonData
from gloss.data.dataset import Dataset
from gloss.errors import InputError
from gloss.experiment.cost import Cost, cost_of
from gloss.experiment.following import on_data, protocol_of
from gloss.experiment.run_folder import RunFolder
from gloss.experiment.settings import Experiment
from gloss.experiment.sizing import has_gpu, shop_of, sized
from gloss.experiment.stages.prepare import prepare

__all__ = ["planned"]


def planned(experiment: Experiment, out: Path) -> tuple[Experiment, Cost | None]:
    """The settings with all that follows the data, and the cost of the language model where it is
    trained from zero.

    out: the run folder, whose data set is taken where it is made; otherwise one is made for the
    moment. Raises what `prepare` raises, and InputError for data that would be downloaded.
    """
    with _prepared(experiment, RunFolder(out)) as data:
        shop, gpu = shop_of(data, protocol_of(experiment).title_style), has_gpu()
        experiment = sized(experiment, shop, gpu=gpu)
        return on_data(experiment, data), cost_of(experiment, shop, gpu=gpu)


@contextmanager
def _prepared(experiment: Experiment, folder: RunFolder) -> Iterator[Dataset]:
    if (folder.data / MANIFEST).is_file():
        yield Dataset.load(folder.data)
        return
    source = experiment.data
    if isinstance(source, AmazonData) and source.folder is None:
        raise InputError("they would be downloaded (data.folder names files that are there)")
    with TemporaryDirectory(prefix="gloss-") as made:
        yield Dataset.load(prepare(source, Path(made) / "data").path)
