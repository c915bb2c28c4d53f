"""The networks of a bundle's rankers, trained further on a data set that has grown.

Each is an artefact in a folder, so that what was killed goes on and what is done is not done
twice. Its manifest has the settings of the first training, and names what it went on from. So is
the language model, which the stage `train` trains further; here stands whether it can. What an
update makes of them stands in updating.py.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gloss.artifacts import Artifact, Draft, Recipe, open_artifact
from gloss.config import ScratchModel, Settings
from gloss.data.dataset import Dataset
from gloss.errors import ConfigError
from gloss.language.records import KIND as MODEL_KIND
from gloss.language.records import ModelConfig
from gloss.progress import Progress, part_of, silent
from gloss.rankers.ranker import CHECKPOINTS, Grown, RankerSpec
from gloss.rankers.records import TrainedConfig
from gloss.recommender.bundle import Bundle
from gloss.recommender.updating import rankers_of, title_vectors_of

__all__ = ["is_done", "model_to_retrain", "require_networks", "retrain"]

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

    Raises ConfigError where one cannot be trained further, MissingExtraError where what it takes is
    not installed.
    """
    trained = _trained(bundle)
    work = _Retraining(bundle, dataset, folder, encoder)
    return {
        spec.name: work.done(spec, settings, part_of(progress, number, len(trained)))
        for number, (spec, settings) in enumerate(trained)
    }


def is_done(bundle: Bundle, dataset: Dataset) -> bool:
    """Whether all networks of a bundle were trained on this data set."""
    networks = [bundle.trained(spec) for spec, _ in _trained(bundle)]
    model = _model(bundle)
    if model and not _why_it_stays(model):
        networks.append(model)
    made_of = [network.inputs.get("dataset") for network in networks]
    return bool(made_of) and all(each == dataset.fingerprint for each in made_of)


def require_networks(bundle: Bundle) -> None:
    """Raise ConfigError where nothing can be trained further."""
    model = _model(bundle)
    if _trained(bundle) or (model and not _why_it_stays(model)):
        return
    raise ConfigError(
        f"nothing of {bundle.artifact.path} can be trained further: it has no network among its "
        "rankers, and no language model that was trained from zero without teachers"
    )


def model_to_retrain(bundle: Bundle) -> Artifact | None:
    """The language model, where it can be trained further; where it cannot, a line says why."""
    model = _model(bundle)
    reason = _why_it_stays(model) if model else None
    if reason:
        _LOG.warning("the language model stays as it is: %s", reason)
    return None if reason else model


def _model(bundle: Bundle) -> Artifact | None:
    return open_artifact(bundle.model, MODEL_KIND) if bundle.model else None


def _why_it_stays(model: Artifact) -> str | None:
    """Why a language model is not trained further; None where it can be."""
    config = ModelConfig.of(model)
    if not isinstance(config.model, ScratchModel):
        return "it was fine-tuned, and `gloss fit` fine-tunes it anew"
    if config.distillation:
        return "it learned from teachers, and `gloss fit` trains it anew with them"
    return None


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
