"""Whether this machine can hold what an experiment trains, seen before any work is done.

Lower bounds, from the settings alone: the weights that layers and width fix, with their gradients
and Adam's two moments. Tokens, items and activations come on top. So what is refused cannot fit,
and what is not refused still may not. How long it takes depends on the data too: `cost.py`.
"""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gloss.config import ScratchModel
from gloss.errors import ConfigError
from gloss.experiment.settings import Experiment
from gloss.rankers.sasrec.ranker import SPEC as SASREC

__all__ = ["FLOATS_PER_WEIGHT", "Trained", "require_room", "trained_by", "weights_of_blocks"]

_FLOAT_BYTES = 4
FLOATS_PER_WEIGHT = 4
"""Of a training: a weight, its gradient and Adam's two moments."""

_CHECKPOINT_BYTES = 3 * _FLOAT_BYTES
"""A weight and Adam's two moments."""

_UNQUESTIONED = 2**30
"""Bytes that any machine has."""


@dataclass(frozen=True, slots=True)
class Trained:
    """Networks that are trained one after the other. parameters: of each, at least."""

    section: str
    networks: int
    parameters: int

    @property
    def memory(self) -> int:
        """Bytes that are held at once."""
        return FLOATS_PER_WEIGHT * _FLOAT_BYTES * self.parameters

    @property
    def disk(self) -> int:
        """Bytes of all networks and of one checkpoint."""
        return (_FLOAT_BYTES * self.networks + _CHECKPOINT_BYTES) * self.parameters


def require_room(experiment: Experiment, out: Path, *, model: bool = True) -> None:
    """Raise ConfigError if what an experiment trains fits neither into memory nor on the disk.

    out: where it is written. model: whether the language model is trained.
    """
    parts = [part for part in trained_by(experiment) if model or part.section != "model"]
    largest = max(parts, key=lambda part: part.memory, default=None)
    if largest and largest.memory > _UNQUESTIONED and largest.memory > (held := _memory()):
        raise ConfigError(
            f"training {largest.section} takes at least {_gib(largest.memory)} of memory, and this "
            f"machine has {_gib(held)}: take fewer layers or a smaller width (--force tries it)"
        )
    disk = sum(part.disk for part in parts)
    if disk > _UNQUESTIONED and disk > (free := _free_below(out)):
        raise ConfigError(
            f"what is trained takes at least {_gib(disk)}, and {out} has room for {_gib(free)}: "
            "take fewer networks, fewer layers or a smaller width (--force tries it)"
        )


def trained_by(experiment: Experiment) -> Iterator[Trained]:
    """What is trained from zero, whose size is known. A layer of SASRec has an attention of 4 w²
    weights and an MLP of 8 w²."""
    model = experiment.model
    if isinstance(model, ScratchModel):
        yield Trained("model", model.networks, weights_of_blocks(model))
    if SASREC.name in experiment.rankers.use:
        settings = experiment.rankers.of(SASREC)
        layer = (4 + 8) * settings.width**2
        yield Trained("rankers.sasrec", settings.networks, settings.layers * layer)


def weights_of_blocks(model: ScratchModel) -> int:
    """Weights of a Llama's attention, four matrices, and MLP, three, in all of its blocks."""
    mlp_width = model.mlp_width or 4 * model.width
    return model.layers * (4 * model.width**2 + 3 * model.width * mlp_width)


def _memory() -> int:
    """Bytes that this process may hold: of the GPU that it would train on, else of the machine."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[1])
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    return machine if allowed == resource.RLIM_INFINITY else min(machine, allowed)


def _free_below(out: Path) -> int:
    """Bytes that are free where a folder is, or will be."""
    here = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    return shutil.disk_usage(here).free


def _gib(size: int) -> str:
    return f"{size / 2**30:,.0f} GiB"
