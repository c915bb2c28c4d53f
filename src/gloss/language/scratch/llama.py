"""A new Llama with random weights, and what it expects of held-out users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gloss.config import ScratchModel
from gloss.language.packing import Pack
from gloss.language.scratch.packed_llama import PackedLlama, use_packed_attention
from gloss.training.data_parallel import sum_over_processes
from gloss.training.processes import process_count, process_number

__all__ = ["new_model", "title_loss"]


def new_model(
    settings: ScratchModel, *, vocabulary: int, end: int, dropout: float, seed: int
) -> LlamaForCausalLM:
    """A Llama of the chosen size, its weights drawn from the seed.

    end: the token that begins and ends a document; dropout: of the attention weights, the only one
    that a Llama knows (packed_llama.py adds the others).
    """
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=settings.width,
        intermediate_size=settings.mlp_width or 4 * settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=settings.context,
        tie_word_embeddings=True,
        attention_dropout=dropout,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    torch.manual_seed(seed)
    return LlamaForCausalLM(config)


@torch.inference_mode()
def title_loss(
    model: Any, examples: Sequence[tuple[np.ndarray, int]], *, batch_examples: int = 256
) -> float:
    """Mean of -log p(next title | history), in nats a title, its end token included.

    examples: documents that end with the next title, and how many tokens that has
    (`Documents.examples`), which several processes deal out among themselves.
    """
    packed = PackedLlama(model)
    was_training = model.training
    model.eval()
    own = examples[process_number() :: process_count()]
    total = 0.0
    with use_packed_attention(model):
        for first in range(0, len(own), batch_examples):
            documents, title_tokens = zip(*own[first : first + batch_examples], strict=True)
            total += float(packed.loss(Pack.of(documents, title_tokens), reduction="sum"))
    model.train(was_training)
    return sum_over_processes(total) / len(examples)
