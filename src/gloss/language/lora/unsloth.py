"""The same adapter on the same model, trained by Unsloth's kernels. Needs an environment of its own
(constraints-unsloth.txt), because Unsloth holds other versions of the libraries.

Data, batches, trainer, adapter format and manifest are those of `finetune`.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

from gloss.config import LoraModel, LoraTraining
from gloss.errors import ConfigError, MissingExtraError, UsageError
from gloss.language.bases import Base
from gloss.language.lora.adapters import name_base

__all__ = ["adapt_with_unsloth", "require_unsloth"]


def require_unsloth(training: LoraTraining) -> None:
    """Raise MissingExtraError without Unsloth, ConfigError for what it cannot do."""
    if training.packing:
        raise ConfigError("training.packing: the backend unsloth takes padded batches only")
    if find_spec("unsloth") is None:
        raise MissingExtraError("the backend unsloth", "unsloth")


def adapt_with_unsloth(base: Base, model: LoraModel, training: LoraTraining, *, seed: int) -> Any:
    """The base model, loaded and adapted by Unsloth; its loss is computed without logits."""
    require_unsloth(training)
    try:
        unsloth: Any = importlib.import_module("unsloth")
    except Exception as error:  # without a GPU it raises at import
        raise UsageError(f"unsloth cannot run here: {str(error).strip()}") from error
    never = training.gradient_checkpointing == "never"
    loaded, _ = unsloth.FastLanguageModel.from_pretrained(
        model_name=str(base.folder),
        use_exact_model_name=True,
        use_gradient_checkpointing=False if never else "unsloth",
        max_seq_length=training.sequence,
        load_in_4bit=model.quantization == "nf4",
        dtype=None,
        local_files_only=True,
        trust_remote_code=False,
    )
    adapted = unsloth.FastLanguageModel.get_peft_model(
        loaded,
        r=model.rank,
        lora_alpha=model.alpha,
        lora_dropout=model.dropout,
        target_modules=list(model.targets),
        bias="none",
        use_gradient_checkpointing=False if never else "unsloth",
        random_state=seed,
    )
    name_base(adapted, base)
    return adapted
