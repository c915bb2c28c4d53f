"""A model folder as the hub has them, small enough for a test: random weights, two layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gloss.errors import require_extra
from gloss.prompts import PAPER_TEMPLATE

__all__ = ["write_tiny_llama"]

_SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,  # grouped heads, as in the models that people use
    "max_position_embeddings": 512,
}


def write_tiny_llama(folder: Path, titles: Sequence[str], **shape: Any) -> Path:
    """Write a Llama with random weights and its tokenizer to `folder`; returns the folder.

    titles: the tokenizer is trained on these and on the published prompt. shape: arguments of
    `transformers.LlamaConfig` in place of the usual ones. The folder has neither a manifest nor
    `prompt.json`: it is a base model of another origin.
    """
    require_extra("a tiny model", "train", "torch", "transformers")
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from gloss.language.scratch.tokenizer import train_tokenizer

    words = [*titles, *[PAPER_TEMPLATE.render(["x"])] * 20]
    tokenizer = train_tokenizer(words, vocabulary=500)
    ends: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 0, "tie_word_embeddings": True}
    config = LlamaConfig(vocab_size=len(tokenizer), **{**_SHAPE, **shape}, **ends)
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
