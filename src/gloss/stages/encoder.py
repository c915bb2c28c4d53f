"""The stage `tune`: a sentence encoder taught on histories. Needs torch, imported when it runs."""

from __future__ import annotations

from pathlib import Path

from gloss.artifacts import Artifact, creating
from gloss.config import Transitions, Tuning
from gloss.data.dataset import Dataset
from gloss.data.titles import TitleStyle
from gloss.progress import Progress, silent
from gloss.retrieval.encoders import TAUGHT, open_encoder
from gloss.stages.making import made_once

__all__ = ["tune"]


def tune(
    dataset: Path,
    out: Path,
    *,
    encoder: str,
    titles: TitleStyle,
    settings: Tuning,
    asked: Transitions,
    seed: int,
    progress: Progress = silent,
) -> Artifact:
    """Fine-tune an encoder on what was bought after what: the encoder at `out`.

    asked: how many purchases make a user, and how they fade before that is learned.
    """
    start = open_encoder(encoder)
    from gloss.retrieval import tuning

    data = Dataset.load(dataset)
    config = {
        "encoder": encoder,
        "titles": titles,
        "seed": seed,
        "recent": asked.recent,
        "decay": asked.decay,
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
                asked=asked,
                seed=seed,
                progress=progress,
            )

    return made_once(out, TAUGHT, config, inputs, make, is_work=True)
