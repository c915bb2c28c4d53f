"""What every training here has in common: Adam's constants, the warm-up, where randomness comes
from, and what else the last bits depend on. Needs torch."""

from __future__ import annotations

import torch

from gloss.training.processes import process_number

__all__ = ["BETAS", "linear_warmup", "seed_torch", "threads_for_summary"]

BETAS = (0.9, 0.98)
"""Adam's decay rates: those of the first Transformer (Vaswani et al., NeurIPS 2017, 5.3)."""

_PROCESS_STRIDE = 2**48
"""Above all seeds of steps, below the 64 bits that a seed has."""

_SEED_STRIDE = 1_000_003
"""A prime larger than any number of steps or epochs that is likely, so that the torch seeds of two
runs with different seeds do not meet."""


def seed_torch(seed: int, number: int) -> None:
    """Seed torch for step or epoch `number` of a run, counted from 1.

    What is drawn afterwards depends on the seed and the number alone, not on what came before: a
    run that goes on from a checkpoint draws what it would have drawn without the interruption.
    Of several processes each draws on its GPU what no other does; on the CPU all draw the same.
    """
    torch.manual_seed(seed * _SEED_STRIDE + number)
    if process_number():
        torch.cuda.manual_seed(seed * _SEED_STRIDE + number + process_number() * _PROCESS_STRIDE)


def linear_warmup(step: int, warmup_steps: int) -> float:
    """The factor of the learning rate at a step, counted from 1: min(1, step / warmup_steps).

    >>> [linear_warmup(step, 4) for step in (1, 2, 3, 4, 5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return min(1.0, step / max(1, warmup_steps))


def threads_for_summary() -> dict[str, int]:
    """The number of the CPU's threads, as the summary of what was trained says it; nothing where a
    GPU trains.

    Sums are split over threads, so that with another number the last bits of weights differ. The
    summary says it and the configuration does not: no training is repeated for the last bits.
    """
    return {} if torch.cuda.is_available() else {"threads": torch.get_num_threads()}
