"""About how much memory training takes, and whether activations must be computed twice.

Rules of thumb from the shapes of a Llama; measured peaks stand in docs/log.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from gloss.config import LoraModel, LoraTraining
from gloss.language.examples import Examples

__all__ = [
    "activation_bytes",
    "batch_tokens",
    "estimated_peak",
    "needs_checkpointing",
    "plan_memory",
]

_HALF_BYTES, _FULL_BYTES = 2, 4
"""Of a number in half precision, and in float32."""

_MAX_SHARE_OF_FREE = 0.8
"""Share of the free memory that an estimate may fill."""


def batch_tokens(training: LoraTraining, lengths: Sequence[int]) -> int:
    """Tokens of about the largest batch that a device reads at once.

    Padded rows are as long as the longest; a packed sum of lengths stays within four standard
    deviations of its mean.
    """
    count, longest = training.batch, max(lengths, default=0)
    if not training.packing:
        return count * longest
    mean = sum(lengths) / max(1, len(lengths))
    spread = math.sqrt(sum((n - mean) ** 2 for n in lengths) / max(1, len(lengths)))
    return min(count * longest, round(count * mean + 4 * math.sqrt(count) * spread))


def activation_bytes(config: Any, tokens: int, *, checkpointing: bool) -> int:
    """Bytes that the forward pass leaves for the backward pass, in half precision.

    A layer keeps about twenty numbers of the hidden width a token and five of the MLP's; with
    checkpointing its input alone, and one layer's share while it is computed again.
    """
    text = config.get_text_config()
    layer = _HALF_BYTES * (20 * text.hidden_size + 5 * text.intermediate_size)
    kept = text.num_hidden_layers * (_HALF_BYTES * text.hidden_size if checkpointing else layer)
    return int(tokens * (kept + (layer if checkpointing else 0)))


def logit_bytes(config: Any, tokens: int) -> int:
    """Bytes of the logits of so many tokens: in half and in full precision, and their gradients."""
    return 2 * (_HALF_BYTES + _FULL_BYTES) * int(config.get_text_config().vocab_size) * tokens


def estimated_peak(
    config: Any,
    parameters: int,
    trainable: int,
    model: LoraModel,
    training: LoraTraining,
    lengths: Sequence[int],
    *,
    checkpointing: bool,
    loss_share: float,
) -> int:
    """Bytes of about the peak on one GPU: weights, adapter with its optimizer, one batch.

    loss_share: of the tokens, those that carry loss.
    """
    text = config.get_text_config()
    # Embedding and head stay in half precision.
    outside = text.vocab_size * text.hidden_size * (1 if text.tie_word_embeddings else 2)
    inside = (parameters - outside) * (0.53 if model.quantization == "nf4" else _HALF_BYTES)
    adapter = trainable * (
        4 * _FULL_BYTES if training.optimizer == "adamw" else 2 * _FULL_BYTES + 2
    )
    tokens = batch_tokens(training, lengths)
    share = loss_share if training.packing else 1.0
    total: float = (
        outside * _HALF_BYTES
        + inside
        + adapter
        + activation_bytes(config, tokens, checkpointing=checkpointing)
        + logit_bytes(config, round(tokens * share))
    )
    return round(total)


def plan_memory(
    folder: Path, model: LoraModel, training: LoraTraining, examples: Examples
) -> dict[str, int]:
    """What a base model and a recipe take on one GPU, from the configuration alone.

    With gradient checkpointing "auto" the figure is that without it.
    """
    with torch.device("meta"):
        whole = AutoModelForCausalLM.from_config(
            AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        )
    layers = [
        (linear.in_features, linear.out_features)
        for name, linear in whole.named_modules()
        if name.rpartition(".")[2] in model.targets and isinstance(linear, torch.nn.Linear)
    ]
    trainable = model.rank * sum(map(sum, layers))
    peak = estimated_peak(
        whole.config,
        whole.num_parameters(),
        trainable,
        model,
        training,
        [len(row.tokens) for row in examples.rows],
        checkpointing=training.gradient_checkpointing == "always",
        loss_share=examples.answers / examples.tokens if training.loss_on == "completion" else 1.0,
    )
    return {
        "parameters": whole.num_parameters(),
        "trainable parameters": trainable,
        "about MiB on a GPU": peak >> 20,
    }


def needs_checkpointing(
    config: Any, training: LoraTraining, lengths: Sequence[int], *, free: int
) -> bool:
    """Whether a batch's activations would not fit into `free` bytes, the model being loaded."""
    tokens = batch_tokens(training, lengths)
    needed = activation_bytes(config, tokens, checkpointing=False) + logit_bytes(config, tokens)
    return needed > _MAX_SHARE_OF_FREE * free
