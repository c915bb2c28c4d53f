"""Running out of memory: how much is taken, and the answer to too much, half of it at once."""

from __future__ import annotations

from gloss.errors import GlossError

__all__ = ["CPU_ENTRIES", "MEMORY_SHARE", "halved"]

CPU_ENTRIES = 65_536
"""Cache entries held at once on a CPU by default: about 2 GB at eight layers of width 512."""
MEMORY_SHARE = 0.7
"""Share of a device's free memory that a cache takes; activations need the rest."""


def halved(size: int) -> int:
    """Half of a size that did not fit. Raises GlossError where the smallest size, 1, did not fit.

    >>> halved(5)
    2
    """
    if size < 2:
        raise GlossError(
            "the memory does not hold a single user: use fewer beams, shorter prompts or a "
            "smaller model"
        )
    return size // 2
