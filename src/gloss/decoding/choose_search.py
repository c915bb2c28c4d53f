"""Which beam search a model gets: Llama-like models a fast path, all others `BatchedSearch`."""

from __future__ import annotations

import warnings
from typing import Any

from gloss.decoding.batches import BatchedSearch
from gloss.decoding.beams import BeamSettings
from gloss.decoding.search import Search
from gloss.decoding.support import unsupported_because
from gloss.decoding.title_trie import TitleTrie

__all__ = ["choose_search"]


def choose_search(
    model: Any,
    settings: BeamSettings,
    trie: TitleTrie | None,
    *,
    entries: int | None,
    memory_share: float = 1.0,
) -> Search:
    """The fastest search that can run this model where it is; a warning says why it is a slow one.

    entries: cache entries to hold at once, users x (prompt + steps x beams); None: what fits.
    memory_share: of a CUDA device's free memory; less than 1 for one of several that keep theirs.
    """
    reason = unsupported_because(model, settings)
    if reason is not None:
        warnings.warn(f"decoding takes the slower path: {reason}", RuntimeWarning, stacklevel=2)
        return BatchedSearch(model, settings, trie, entries=entries)
    # Triton, which the kernels for CUDA need, is not there on a machine without a CUDA device.
    if model.device.type == "cuda":
        from gloss.decoding.cuda.search import CudaSearch

        return CudaSearch(model, settings, trie, entries=entries, memory_share=memory_share)
    from gloss.decoding.cpu.search import CpuSearch

    return CpuSearch(model, settings, trie, entries=entries)
