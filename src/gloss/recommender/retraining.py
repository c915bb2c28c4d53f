"""The networks of a bundle's rankers, trained further on a data set that has grown.

Each is an artefact in a folder, so that what was killed goes on and what is done is not done
twice. Its manifest has the settings of the first training, and names what it went on from. The
language model stays as it is. What an update makes of them stands in updating.py.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gloss.artifacts import Artifact, Draft, Recipe
from gloss.config import Settings
from gloss.data.dataset import Dataset
from gloss.errors import ConfigError
from gloss.progress import Progress, part_of, silent
from gloss.rankers.ranker import CHECKPOINTS, Grown, RankerSpec
from gloss.rankers.records import TrainedConfig
from gloss.recommender.bundle import Bundle
from gloss.recommender.updating import rankers_of, title_vectors_of

__all__ = ["is_done", "retrain"]

_LOG = logging.getLogger(__name__)


def retrain(
    bundle: Bundle,
    dataset: Dataset,
    folder: Path,
    *,
    encoder: str | None = None,
    progress: Progress = silent,
) -> dict[str, Artifact]:
    """By the ranker's name, what its training has made of the data set; below `folder`, but for
    those that were trained on it already. encoder: as `update` has it.

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
    work = _Retraining(bundle, dataset, folder, encoder)
    return {
        spec.name: work.done(spec, settings, part_of(progress, number, len(trained)))
        for number, (spec, settings) in enumerate(trained)
    }


def is_done(bundle: Bundle, dataset: Dataset) -> bool:
    """Whether all networks of a bundle were trained on this data set."""
    made_of = [bundle.trained(spec).inputs.get("dataset") for spec, _ in _trained(bundle)]
    return bool(made_of) and all(each == dataset.fingerprint for each in made_of)


def _trained(bundle: Bundle) -> list[tuple[RankerSpec[Any], Settings]]:
    return [(spec, settings) for spec, settings in rankers_of(bundle) if spec.training]


@dataclass(frozen=True, slots=True)
class _Retraining:
    """What all networks of a bundle are trained further on; each is an artefact below `folder`."""

    bundle: Bundle
    dataset: Dataset
    folder: Path
    encoder: str | None

    def done(self, spec: RankerSpec[Any], settings: Settings, progress: Progress) -> Artifact:
        """What the training of one of them has made; the old one, if it is of this data set."""
        old = self.bundle.trained(spec)
        if old.inputs.get("dataset") == self.dataset.fingerprint:
            return old
        assert spec.training is not None
        if spec.training.refit is None:
            raise ConfigError(
                f"{spec.name} cannot be trained further: train it anew with `gloss fit`"
            )
        spec.require_installed()
        inputs = {"dataset": self.dataset.fingerprint, "earlier": old.fingerprint}
        fill = partial(self._fill, spec=spec, settings=settings, progress=progress)
        recipe = Recipe(spec.training.kind, old.config, inputs)
        return recipe.make(self.folder / spec.name, fill, scratch=(CHECKPOINTS,), is_work=True)

    def _fill(
        self, draft: Draft, *, spec: RankerSpec[Any], settings: Settings, progress: Progress
    ) -> None:
        (draft.path / CHECKPOINTS).mkdir(exist_ok=True)
        catalogue, old = (
            self.dataset.catalogue(self.bundle.settings.titles),
            self.bundle.trained(spec),
        )
        vectors = None
        if "title-vectors" in spec.all_needs(settings):
            vectors = title_vectors_of(self.bundle, catalogue, encoder=self.encoder)
        grown = Grown(
            trained=old,
            known=self.bundle.trained_catalogue,
            histories=self.dataset.train(),
            catalogue=catalogue,
            title_vectors=vectors,
        )
        assert spec.training is not None
        assert spec.training.refit is not None
        spec.training.refit(
            draft, grown, settings, seed=TrainedConfig.of(old).seed, progress=progress
        )
