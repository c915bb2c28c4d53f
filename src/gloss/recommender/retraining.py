"""The networks of a bundle's rankers, trained further on a data set that has grown.

Each is an artefact in a folder, so that what was killed goes on and what is done is not done
twice. Its manifest has the settings of the first training, and names what it went on from. The
language model stays as it is. What an update makes of them stands in updating.py.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

from gloss.artifacts import Artifact, Draft, Recipe
from gloss.config import Settings
from gloss.data.dataset import Dataset
from gloss.errors import ConfigError
from gloss.progress import Progress, part_of, silent
from gloss.rankers.ranker import CHECKPOINTS, Grown, RankerSpec, Refit
from gloss.rankers.records import TrainedConfig
from gloss.recommender.bundle import Bundle
from gloss.recommender.updating import rankers_of, title_vectors_of

__all__ = ["is_done", "retrain"]

_LOG = logging.getLogger(__name__)


def retrain(
    bundle: Bundle, dataset: Dataset, folder: Path, *, progress: Progress = silent
) -> dict[str, Artifact]:
    """By the ranker's name, what its training has made of the data set; below `folder`, but for
    those that were trained on it already.

    Raises ConfigError where nothing can be trained further, MissingExtraError where what it takes
    is not installed.
    """
    trained = _trained(bundle)
    if not trained:
        raise ConfigError(
            f"nothing of {bundle.artifact.path} can be trained further: it has no "
            "network among its rankers; a language model is trained anew by `gloss fit`"
        )
    if bundle.model:
        _LOG.warning("the language model stays as it is: it is trained anew by `gloss fit`")
    return {
        spec.name: _retrained(
            bundle, dataset, folder, spec, settings, part_of(progress, number, len(trained))
        )
        for number, (spec, settings) in enumerate(trained)
    }


def is_done(bundle: Bundle, dataset: Dataset) -> bool:
    """Whether all networks of a bundle were trained on this data set."""
    made_of = [bundle.trained(spec).inputs.get("dataset") for spec, _ in _trained(bundle)]
    return bool(made_of) and all(each == dataset.fingerprint for each in made_of)


def _trained(bundle: Bundle) -> list[tuple[RankerSpec[Any], Settings]]:
    return [(spec, settings) for spec, settings in rankers_of(bundle) if spec.training]


def _retrained(
    bundle: Bundle,
    dataset: Dataset,
    folder: Path,
    spec: RankerSpec[Any],
    settings: Settings,
    progress: Progress,
) -> Artifact:
    old = bundle.trained(spec)
    if old.inputs.get("dataset") == dataset.fingerprint:
        return old
    assert spec.training is not None
    if spec.training.refit is None:
        raise ConfigError(f"{spec.name} cannot be trained further: train it anew with `gloss fit`")
    spec.require_installed()
    fill = partial(
        _fill,
        refit=spec.training.refit,
        bundle=bundle,
        dataset=dataset,
        spec=spec,
        settings=settings,
        progress=progress,
    )
    inputs = {"dataset": dataset.fingerprint, "earlier": old.fingerprint}
    recipe = Recipe(spec.training.kind, old.config, inputs)
    return recipe.make(folder / spec.name, fill, scratch=(CHECKPOINTS,), is_work=True)


def _fill(
    draft: Draft,
    *,
    refit: Refit[Any],
    bundle: Bundle,
    dataset: Dataset,
    spec: RankerSpec[Any],
    settings: Settings,
    progress: Progress,
) -> None:
    (draft.path / CHECKPOINTS).mkdir(exist_ok=True)
    catalogue, old = dataset.catalogue(bundle.settings.titles), bundle.trained(spec)
    reads_vectors = "title-vectors" in spec.all_needs(settings)
    grown = Grown(
        trained=old,
        known=bundle.trained_catalogue,
        histories=dataset.train(),
        catalogue=catalogue,
        title_vectors=title_vectors_of(bundle, catalogue) if reads_vectors else None,
    )
    refit(draft, grown, settings, seed=TrainedConfig.of(old).seed, progress=progress)
