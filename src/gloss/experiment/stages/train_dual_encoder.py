"""The stage `tune`: a sentence encoder taught on histories. Needs torch, imported when it runs."""

from __future__ import annotations

from pathlib import Path

from gloss.artifacts import Artifact, creating
from gloss.data.dataset import Dataset
from gloss.data.titles import TitleStyle
from gloss.experiment.stages.making import made_once
from gloss.progress import Progress, silent
from gloss.rankers.dual_encoder.settings import DualEncoderSettings
from gloss.retrieval.dense.encoders import TAUGHT, open_encoder

__all__ = ["tune"]


def tune(
    dataset: Path,
    out: Path,
    *,
    encoder: str,
    titles: TitleStyle,
    settings: DualEncoderSettings,
    seed: int,
    progress: Progress = silent,
) -> Artifact:
    """Fine-tune an encoder on what was bought after what: the encoder at `out`."""
    start = open_encoder(encoder)
    from gloss.rankers.dual_encoder import training as tuning

    data = Dataset.load(dataset)
    config = {
        "encoder": encoder,
        "titles": titles,
        "seed": seed,
        **settings.model_dump(mode="json"),
    }
    inputs = {"dataset": data.fingerprint, "encoder": start.fingerprint}

    def make() -> None:
        with creating(
            out, kind=TAUGHT, config=config, inputs=inputs, scratch=(tuning.CHECKPOINTS,)
        ) as draft:
            tuning.tune_encoder(
                draft,
                start,
                data.train(),
                data.catalogue(titles),
                settings=settings,
                seed=seed,
                progress=progress,
            )

    return made_once(out, TAUGHT, config, inputs, make)
