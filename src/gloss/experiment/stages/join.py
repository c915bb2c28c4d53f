"""The stage `join`: from a data set, and what has happened since, to the data set of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gloss.artifacts import Artifact, Draft, Recipe, fingerprint_of_file
from gloss.config import TableData
from gloss.data import dataset as datasets
from gloss.data.catalogue import ItemId
from gloss.data.dataset import Dataset, DatasetConfig
from gloss.data.joining import cleaning_of, joined_log
from gloss.data.purchases import PurchaseLog
from gloss.data.readers.ids import IdRule, canonical_id
from gloss.data.readers.lines import BadLine
from gloss.data.readers.sources import located_additions
from gloss.data.splits import SplitRule
from gloss.errors import ArtifactError, InputError
from gloss.experiment.stages.warnings import log_warnings
from gloss.progress import Progress, silent

__all__ = ["join", "log_of"]

_SPLIT: SplitRule = "none"
"""Nothing is held back: what is joined is served."""


def join(
    dataset: Path,
    out: Path,
    *,
    fingerprint: str,
    interactions: Sequence[str] = (),
    items: Sequence[str] = (),
    removed: Path | None = None,
    progress: Progress = silent,
) -> Artifact:
    """The data set at `dataset`, with further purchases and items, as the data set at `out`.

    fingerprint: that the data set must have; `out` may be `dataset`, where the joined one stands
    after a first try. interactions, items: sources as `TableData` has them, read as those of the
    data set were, where these were tables. removed: a file with the ids of items that leave the
    catalogue, one a line. A data set that was joined with the very same files last is left as it
    is. Raises ArtifactError for another data set, and what `joined_log` raises.
    """
    old = Dataset.load(dataset)
    added = located_additions(_tables(old.config, interactions, items), progress=progress)
    inputs = {"dataset": fingerprint, **added.inputs}
    if removed is not None:
        _require_file(removed)
        inputs["removed"] = fingerprint_of_file(removed)
    if old.fingerprint == fingerprint and _has(old, inputs):
        return old.artifact

    def begin() -> Callable[[Draft], None]:
        if old.fingerprint != fingerprint:
            raise ArtifactError(f"{dataset} is not the data set that the bundle was made of")
        cleaning = cleaning_of(old.config)
        log = joined_log(old, added.read(), _ids(removed, old.config) if removed else frozenset())

        def fill(draft: Draft) -> None:
            data = datasets.prepare(log, split=_SPLIT, cleaning=cleaning)
            datasets.write_dataset(draft, data)

        return fill

    config = old.config.model_copy(update={"split": _SPLIT})
    made = Recipe(datasets.KIND, config.to_json(), inputs).make_from(out, begin)
    log_warnings(datasets.DatasetSummary.of(made).warnings)
    return made


def log_of(
    dataset: Path | None,
    *,
    interactions: Sequence[str] = (),
    items: Sequence[str] = (),
    progress: Progress = silent,
) -> PurchaseLog:
    """The log of a data set, of files, or of both, read as `join` reads them; without a data set by
    the usual columns. Nothing is written. Raises what `joined_log` raises."""
    old = Dataset.load(dataset) if dataset else None
    config = old.config if old else DatasetConfig()
    added = located_additions(_tables(config, interactions, items), progress=progress)
    if old is None:
        return added.read()
    return joined_log(old, added.read()) if interactions or items else old.log()


def _has(dataset: Dataset, inputs: Mapping[str, str]) -> bool:
    """Whether the data set was made by joining these files with another one."""
    made_from = {**dataset.artifact.inputs, "dataset": inputs["dataset"]}
    return "dataset" in dataset.artifact.inputs and made_from == inputs


def _tables(config: DatasetConfig, interactions: Sequence[str], items: Sequence[str]) -> TableData:
    """How the new files are read: as the old ones were; with the usual columns where these were no
    tables."""
    own: dict[str, Any] = {}
    if config.source == "table":
        known = config.model_extra or {}
        own = {name: value for name, value in known.items() if name in TableData.model_fields}
    files = {"interactions": tuple(interactions), "items": tuple(items)}
    return TableData.model_validate({**own, **files, "source": "table", "split": _SPLIT})


def _ids(file: Path, config: DatasetConfig) -> frozenset[ItemId]:
    """The ids of a file, one a line, as ids of the data set are read."""
    rule = IdRule.recorded(config.model_extra or {})
    try:
        lines = file.read_text("utf-8-sig").splitlines()
        return frozenset(ItemId(canonical_id(line, "id", rule)) for line in lines if line.strip())
    except (OSError, UnicodeDecodeError, BadLine) as error:
        raise InputError(f"{file} cannot be read: {error}") from None


def _require_file(file: Path) -> None:
    if not file.is_file():
        raise InputError(f"{file} does not exist")
