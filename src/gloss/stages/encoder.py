"""The stage behind `gloss encoder tune`. Needs torch, and imports it when it runs."""

from __future__ import annotations

from pathlib import Path

from gloss.artifacts import Artifact, open_artifact
from gloss.data.dataset import Dataset
from gloss.progress import Progress, silent
from gloss.retrieval import tuning

__all__ = ["tune"]


def tune(
    dataset: Path,
    out: Path,
    *,
    encoder: str,
    pairs: int,
    batch: int,
    learning_rate: float,
    seed: int,
    progress: Progress = silent,
) -> Artifact:
    """Fine-tune an encoder on what was bought after what: the encoder at `out`."""
    tuning.tune_encoder(
        Dataset.load(dataset),
        out,
        encoder=encoder,
        pairs=pairs,
        batch=batch,
        learning_rate=learning_rate,
        seed=seed,
        progress=progress,
    )
    return open_artifact(out, tuning.KIND)
