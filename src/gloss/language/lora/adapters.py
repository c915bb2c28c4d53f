"""LoRA adapters on pretrained models: put on, taken up again, merged. Needs the extra `lora`.

An adapter folder is PEFT's own (adapter_config.json, adapter_model.safetensors), so any tool that
reads those reads ours.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from gloss.choices import Quantization
from gloss.config import LoraModel
from gloss.errors import InputError, MissingExtraError, is_panic, reason_of
from gloss.language.bases import Base
from gloss.language.quiet import quiet_transformers
from gloss.language.weights import require_safe_model

__all__ = [
    "ADAPTER_CONFIG",
    "ADAPTER_WEIGHTS",
    "adapter_base",
    "add_adapter",
    "empty_model",
    "load_base",
    "load_tokenizer",
    "name_base",
    "require_finite",
    "require_lora",
    "trainable_parameters",
    "with_adapter",
]

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_BEFORE_THE_PROMPT = (
    "PROMPT_TUNING",
    "MULTITASK_PROMPT_TUNING",
    "P_TUNING",
    "PREFIX_TUNING",
    "ADAPTION_PROMPT",
    "CPT",
)
"""The names that PEFT has for adapters that are no layers."""

_EMBEDDINGS = tuple(
    f"{name}.weight"
    for name in ("embed_tokens", "lm_head", "wte", "embed_in", "embed_out", "word_embeddings")
)
_LOCAL = {"local_files_only": True, "trust_remote_code": False}


def require_lora(purpose: str, *, quantization: Quantization = "none") -> None:
    """Raise MissingExtraError, naming the pip line, unless the libraries are there."""
    libraries = ["peft", "accelerate", *(["bitsandbytes"] if quantization == "nf4" else [])]
    if any(find_spec(name) is None for name in libraries):
        raise MissingExtraError(purpose, "lora")


def load_tokenizer(folder: Path) -> Any:
    """A folder's tokenizer, made ready to pad: by its own padding token or the end of text."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **_LOCAL)
    except BaseException as error:  # every library beneath has errors of its own
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        raise InputError(
            f"{folder} has no tokenizer that can be loaded: {reason_of(error)}"
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(
    folder: Path,
    *,
    quantization: Quantization = "none",
    device: str,
) -> Any:
    """A pretrained model from its folder: bf16 on a GPU, fp32 on a CPU, or 4-bit NF4.

    Safetensors only, nothing from the network, no code of the folder's. Raises InputError naming
    what is missing or damaged.
    """
    require_safe_model(folder)
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, "output_loading_info": True}
    if quantization == "nf4":
        require_lora("4-bit weights", quantization="nf4")
        options |= {"quantization_config": _nf4(dtype), "device_map": {"": device}}
    try:
        with quiet_transformers():
            loaded: Any = AutoModelForCausalLM.from_pretrained(folder, **options, **_LOCAL)
    except Exception as error:  # every library beneath has errors of its own
        raise InputError(f"{folder} cannot be loaded as a model: {reason_of(error)}") from error
    model, loading = loaded
    if loading["missing_keys"]:
        # transformers would go on with random numbers in their place.
        raise InputError(
            f"{folder} is a model without {', '.join(sorted(loading['missing_keys']))}"
        )
    require_finite(model, folder)
    return model if quantization == "nf4" else torch.nn.Module.to(model, device)


def empty_model(folder: Path) -> Any:
    """The model of a folder on the device "meta": its configuration and shapes, no numbers.

    Raises InputError naming what is missing or damaged.
    """
    require_safe_model(folder)
    try:
        with quiet_transformers(), torch.device("meta"):
            config = AutoConfig.from_pretrained(folder, **_LOCAL)
            return AutoModelForCausalLM.from_config(config)
    except Exception as error:  # every library beneath has errors of its own
        raise InputError(f"{folder} cannot be loaded as a model: {reason_of(error)}") from error


def require_finite(model: Any, folder: Path) -> None:
    """Raise InputError if a weight is infinite or no number: all that is computed of it would be
    none either."""
    for name, weights in model.named_parameters():
        if weights.is_floating_point() and weights.numel():
            # Extremes carry what is no number, and need no mask as large as the weights.
            lowest, highest = torch.aminmax(weights)
            if not bool(torch.isfinite(lowest) & torch.isfinite(highest)):
                raise InputError(f"{folder} is damaged: {name} holds what is no number")


def add_adapter(model: Any, settings: LoraModel, base: Base, *, seed: int) -> Any:
    """The model, frozen, with a new adapter that does nothing yet; its weights come from the seed.

    Raises InputError if the model has none of the target layers.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets),
        bias="none",
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(seed)
    try:
        with quiet_transformers(), _without_peft_warning():
            adapted = get_peft_model(model, config)
    except ValueError as error:
        raise InputError(f"no adapter fits {base.name}: {reason_of(error)}") from error
    name_base(adapted, base)
    return adapted


def name_base(adapted: Any, base: Base) -> None:
    """Let an adapter remember the hub's name and commit of its base, or its folder: PEFT writes
    where the model was loaded from, which may be a cache."""
    config = adapted.peft_config["default"]
    config.base_model_name_or_path = base.name if "/" in base.name else str(base.folder)
    config.revision = base.revision


def adapter_base(folder: Path) -> tuple[str, str | None]:
    """The base model that an adapter folder says it needs, and its revision."""
    file = folder / ADAPTER_CONFIG
    try:
        config = json.loads(file.read_bytes())
        name, revision = config["base_model_name_or_path"], config.get("revision")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is damaged: {reason_of(error)}") from None
    if not isinstance(name, str) or not name:
        raise InputError(f"{file} does not name a base model: give its folder with --base")
    return name, revision


def with_adapter(model: Any, folder: Path, *, merge: bool) -> Any:
    """A base model with the adapter of a folder, merged into its weights or kept apart.

    Raises InputError if the adapter is not one of this base.
    """
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise InputError(f"{folder} has no {ADAPTER_WEIGHTS}; other formats are not loaded")
    _require_layers(folder)
    from peft import PeftModel

    try:
        _fit_vocabulary(model, folder)
        with quiet_transformers(), _without_peft_warning(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is missing is found below
            adapted = PeftModel.from_pretrained(model, folder, is_trainable=False)
            _require_all_weights(adapted, folder)
            require_finite(adapted, folder)
            return adapted.merge_and_unload(safe_merge=True) if merge else _keep_apart(adapted)
    except Exception as error:  # every library beneath has errors of its own
        raise InputError(
            f"{folder} is no adapter of this base model: {reason_of(error)}"
        ) from error


def _require_layers(folder: Path) -> None:
    """Raise InputError for an adapter that puts something before the prompt: the search reads and
    forks prompts as they are, and could not merge it."""
    kind = str(json.loads((folder / ADAPTER_CONFIG).read_bytes()).get("peft_type"))
    if kind in _BEFORE_THE_PROMPT:
        raise InputError(
            f"{folder} is an adapter of the kind {kind}, which works by virtual tokens: only "
            "adapters of layers (LoRA and its like) are loaded"
        )


def _fit_vocabulary(model: Any, folder: Path) -> None:
    """Give the base model as many rows of embeddings as the adapter brings, if it brings any."""
    from safetensors import safe_open

    with safe_open(folder / ADAPTER_WEIGHTS, "pt") as file:
        rows = [file.get_slice(name).get_shape()[0] for name in file.keys() if _is_embedding(name)]  # noqa: SIM118
    if rows and rows[0] != model.get_input_embeddings().num_embeddings:
        with quiet_transformers():
            model.resize_token_embeddings(rows[0], mean_resizing=False)


def _is_embedding(name: str) -> bool:
    """Whether a tensor of an adapter is a whole embedding: it was trained with added tokens."""
    return name.endswith(_EMBEDDINGS)


def trainable_parameters(model: Any) -> int:
    """How many weights training may change."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _keep_apart(adapted: Any) -> Any:
    """The transformers model with its adapter's layers in it, marked as transformers marks its own
    so that nobody takes its weights for all there is."""
    model = adapted.get_base_model()
    model._hf_peft_config_loaded = True
    return model


def _require_all_weights(adapted: Any, folder: Path) -> None:
    """PEFT goes on with zeros where numbers are missing, and without those it cannot place."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(folder / ADAPTER_WEIGHTS, "pt") as file:
        stored = set(file.keys())
    expected = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    stored = {name for name in stored if name in expected or not _is_embedding(name)}
    if expected != stored:
        raise ValueError(f"{len(expected ^ stored)} of its tensors are missing or too many")


def _nf4(compute: torch.dtype) -> Any:
    """4-bit NormalFloat with quantised constants (Dettmers et al., QLoRA, arXiv 2305.14314)."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
        # FSDP shards weights of one type only.
        bnb_4bit_quant_storage=compute if "ACCELERATE_USE_FSDP" in os.environ else torch.uint8,
    )


@contextmanager
def _without_peft_warning() -> Iterator[None]:
    """PEFT asks transformers for a property by its old name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        yield
