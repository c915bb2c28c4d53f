"""A base model with a new adapter on it, ready to be trained. Needs the extra `lora`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gloss.choices import Backend
from gloss.config import LoraModel, LoraTraining
from gloss.language.bases import Base
from gloss.language.examples import EncodedExample
from gloss.language.lora.adapters import add_adapter, load_base, trainable_parameters
from gloss.language.lora.memory import needs_checkpointing
from gloss.language.packed_attention import set_packed_attention, supports_packed_attention
from gloss.training.processes import process_device

__all__ = ["Adapted", "adapt", "base_parameters"]


@dataclass(frozen=True, slots=True)
class Adapted:
    """A model with its new adapter.

    packed_attention: whether it uses ours, which packed batches are told of; shifts_labels: whether
    it shifts labels itself, as foreign training code does.
    """

    model: Any
    packed_attention: bool
    shifts_labels: bool = False


def adapt(
    base: Base,
    model: LoraModel,
    training: LoraTraining,
    examples: Sequence[EncodedExample],
    *,
    seed: int,
    backend: Backend = "transformers",
) -> Adapted:
    """Load the base model and put a new adapter on it; `examples` tell how much memory a batch
    needs."""
    if backend == "unsloth":
        from gloss.language.lora.unsloth import adapt_with_unsloth

        adapted = adapt_with_unsloth(base, model, training, seed=seed)
        return Adapted(adapted, packed_attention=False, shifts_labels=True)
    device = process_device()
    loaded = load_base(base.folder, quantization=model.quantization, device=device)
    packed_attention = training.packing and supports_packed_attention(loaded.config)
    if packed_attention:
        set_packed_attention(loaded)
    loaded.config.use_cache = False
    adapted = add_adapter(loaded, model, base, seed=seed)
    if device != "cpu":
        _leave_inputs_in_half_precision(adapted)
    if _checkpoints_gradients(loaded.config, training, examples, device):
        _checkpoint_gradients(loaded)
    return Adapted(adapted, packed_attention)


def base_parameters(model: Any) -> int:
    """Parameters of the model beneath an adapter; a byte of 4-bit weights holds two."""
    return int(model.get_base_model().num_parameters()) - trainable_parameters(model)


def _leave_inputs_in_half_precision(adapted: Any) -> None:
    """PEFT copies every layer's input to the adapter's float32, and autocast copies it back."""
    for module in adapted.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False


def _checkpoints_gradients(
    config: Any, training: LoraTraining, examples: Sequence[EncodedExample], device: str
) -> bool:
    """Whether activations are computed a second time in the backward pass instead of kept."""
    if training.gradient_checkpointing != "auto":
        return training.gradient_checkpointing == "always"
    if device == "cpu":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    lengths = [len(example.tokens) for example in examples]
    return needs_checkpointing(config, training, lengths, free=free)


def _checkpoint_gradients(model: Any) -> None:
    # Not through the Trainer's own setting: like this, it has two names, by version.
    name = "activation_checkpointing_enable"
    enable = getattr(model, name, None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
