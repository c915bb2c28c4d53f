"""The stage `train ranker`: what a ranker learns before it can be asked.

Needs torch where the ranker does, and imports it there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from gloss.artifacts import Artifact, Draft, Recipe
from gloss.config import Settings
from gloss.errors import ConfigError
from gloss.experiment.stages.together import make_together
from gloss.progress import Progress, silent
from gloss.rankers.ranker import CHECKPOINTS, RankerSpec
from gloss.rankers.records import TrainedConfig
from gloss.rankers.sources import RankerSources
from gloss.retrieval.dense.encoders import fetch_encoder

__all__ = ["train_ranker"]

S = TypeVar("S", bound=Settings)


def train_ranker(
    spec: RankerSpec[S],
    sources: RankerSources,
    out: Path,
    *,
    settings: S,
    seed: int,
    progress: Progress = silent,
) -> Artifact:
    """Train a ranker on the data set of its sources: an artefact of the ranker's kind at `out`.

    Of several processes all call this (`gloss.training.processes`); the first one writes.
    Raises ConfigError for a ranker that has nothing to learn, MissingExtraError when what it needs
    is not installed.
    """
    if spec.training is None:
        raise ConfigError(f"{spec.name} is not trained: there is nothing to do")
    spec.require_installed()
    needs, fit = spec.training.needs(settings), spec.training.fit
    if "encoder" in needs:
        fetch_encoder(sources.encoder_name)
    config = TrainedConfig(
        ranker=spec.name,
        titles=sources.title_style,
        seed=seed,
        settings=settings.model_dump(mode="json"),
        encoder=sources.encoder_name if "encoder" in needs else None,
    )

    def fill(draft: Draft) -> None:
        (draft.path / CHECKPOINTS).mkdir(exist_ok=True)
        fit(draft, sources, settings, seed=seed, progress=progress)

    recipe = Recipe(spec.training.kind, config.to_json(), sources.fingerprints(needs))
    return make_together(recipe, out, lambda: fill, scratch=(CHECKPOINTS,))
