"""Products with a fixed weight on a CPU, as fast as oneDNN makes them.

PyTorch hands float32 products to MKL, which on many processors stays far below oneDNN, most where
the rows are few: 5 rows 3 times slower, 40 to 160 rows 1.3 to 2 times. oneDNN wants the weight laid
out in blocks; that is done once, at the price of a second copy of the weights.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

__all__ = ["Product", "product"]

Product = Callable[[torch.Tensor], torch.Tensor]
"""rows (rows, inputs) -> (rows, outputs)."""

_MOST_PACKED_BYTES = 2**28
"""A larger weight is not copied: its model is too large for a CPU in any layout."""


def product(weight: torch.Tensor, *, silu: bool = False) -> Product:
    """Multiplication with a weight (outputs, inputs), which must not change afterwards.

    silu: whether the result goes through SiLU.
    """
    operations: Any = torch.ops.mkldnn
    if not _can_pack(weight) or not hasattr(operations, "_linear_pointwise"):
        if silu:
            return lambda rows: functional.silu(functional.linear(rows, weight), inplace=True)
        return lambda rows: functional.linear(rows, weight)
    packed = operations._reorder_linear_weight(weight.detach())
    activation = "swish" if silu else "none"
    multiply = operations._linear_pointwise
    return lambda rows: multiply(rows, packed, None, activation, [], "")


def _can_pack(weight: torch.Tensor) -> bool:
    return (
        platform.machine() in ("x86_64", "AMD64")
        and torch.backends.mkldnn.is_available()
        and weight.dtype == torch.float32
        and weight.numel() * weight.itemsize <= _MOST_PACKED_BYTES
    )
