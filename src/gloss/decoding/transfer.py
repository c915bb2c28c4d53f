"""From the host to a device, without waiting for what the device is doing."""

from __future__ import annotations

import torch

__all__ = ["sent"]


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The same tensor on a device.

    A copy from ordinary memory to a CUDA device begins when all that was queued before is done, and
    the host waits; one from pinned memory is queued itself.
    """
    is_copied = device.type == "cuda" and not tensor.is_cuda
    return tensor.pin_memory().to(device, non_blocking=True) if is_copied else tensor
