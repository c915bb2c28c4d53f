"""Opens the generator of a model folder. A new backend is one file, and one entry here."""

from __future__ import annotations

from pathlib import Path

from gloss.config import AS_IT_IS, Decoding, Loading
from gloss.data.catalogue import Catalogue
from gloss.decoding.ensemble import ENSEMBLE
from gloss.decoding.generator import Generator, GeneratorRequest, GeneratorSpec
from gloss.decoding.transformers_generator import TRANSFORMERS
from gloss.decoding.vllm.opening import VLLM

__all__ = ["GENERATORS", "open_generator"]

GENERATORS: tuple[GeneratorSpec, ...] = (VLLM, ENSEMBLE, TRANSFORMERS)
"""The first that serves a request opens it; the last serves every model folder."""


def open_generator(
    model: Path,
    settings: Decoding,
    catalogue: Catalogue | None = None,
    *,
    device: str | None = None,
    loading: Loading = AS_IT_IS,
) -> Generator:
    """The generator of a model folder; see `GeneratorRequest`.

    Raises InputError or ArtifactError naming what is missing or damaged in the folder, ConfigError
    for settings that the model cannot follow.
    """
    request = GeneratorRequest(Path(model), settings, catalogue, device, loading)
    return next(spec for spec in GENERATORS if spec.serves(request)).open(request)
