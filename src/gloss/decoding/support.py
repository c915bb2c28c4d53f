"""Which models the fast paths can run. Imports no Triton: it is asked on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from gloss.decoding.beams import BeamSettings

__all__ = ["MOST_CUDA_BEAMS", "unsupported_because"]

MOST_CUDA_BEAMS = 64
"""Beams that the kernel of tree attention tells apart: one bit each of a 64-bit word."""
_CUDA_HEAD_WIDTHS = (16, 32, 64, 128, 256)
"""Triton's blocks are powers of two, and its matrix products take 16 columns at least."""


def unsupported_because(model: Any, settings: BeamSettings) -> str | None:
    """Why no fast path can run this model where it is; None if one can."""
    return next(_reasons(model, settings), None)


def _reasons(model: Any, settings: BeamSettings) -> Iterator[str]:
    """Lazily: what is asked of a Llama-like model's configuration, others may not have."""
    yield from _reasons_of_the_architecture(model)
    if model.device.type == "cuda":
        yield from _reasons_on_cuda(model.config, settings)
    else:
        yield from _reasons_on_a_cpu(model)


def _reasons_of_the_architecture(model: Any) -> Iterator[str]:
    config = model.config
    if config.model_type not in ("llama", "mistral"):
        yield f"its type is {config.model_type!r}"
    if getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False):
        yield "its projections have biases"
    if getattr(config, "hidden_act", "") != "silu":
        yield "its activation is not SiLU"
    if getattr(config, "sliding_window", None) is not None:
        yield "it has a sliding window"
    if getattr(model, "quantization_method", None) is not None:
        yield "its weights are quantised"
    if getattr(model, "_hf_peft_config_loaded", False):
        yield "it carries adapters"


def _reasons_on_cuda(config: Any, settings: BeamSettings) -> Iterator[str]:
    if settings.beams > MOST_CUDA_BEAMS:
        yield f"{settings.beams} beams are more than its {MOST_CUDA_BEAMS}"
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if width not in _CUDA_HEAD_WIDTHS:
        yield f"its heads are {width} wide"


def _reasons_on_a_cpu(model: Any) -> Iterator[str]:
    if model.device.type != "cpu":
        yield f"it is on a device of type {model.device.type!r}"
    if model.dtype != torch.float32:
        yield f"its numbers are {str(model.dtype).removeprefix('torch.')}, not float32"
