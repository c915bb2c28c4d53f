"""Models on disk, with the prompt template that goes with them: ours (an artefact) and any Hugging
Face folder.

Our model folder is an ordinary Hugging Face one (config.json, model.safetensors, tokenizer.json),
or an ordinary PEFT adapter, plus `prompt.json` and the manifest. Further networks of an ensemble
lie in `network-1/`, `network-2/`, …, weights and config.json only.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import torch

from gloss.artifacts import MANIFEST, Artifact, Draft, listing_in, open_artifact
from gloss.config import AS_IT_IS, Loading, LoraTraining
from gloss.errors import ArtifactError, ConfigError, InputError, reason_of
from gloss.language.bases import Base, find_base
from gloss.language.hub import BASE_KIND
from gloss.language.lora.adapters import (
    ADAPTER_CONFIG,
    adapter_base,
    empty_model,
    load_base,
    load_tokenizer,
    with_adapter,
)
from gloss.language.quiet import quiet_transformers
from gloss.language.records import KIND, ModelConfig
from gloss.prompts import PAPER_TEMPLATE, PromptTemplate

__all__ = [
    "LanguageModel",
    "Weights",
    "base_of",
    "context_of",
    "load_language_model",
    "load_networks",
    "model_artifact",
    "save_language_model",
    "save_network",
    "save_tokenizer",
    "template_of",
    "without_weights",
]

_TEMPLATE = "prompt.json"
_LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
_USUAL_CONTEXT = 1024
"""Tokens of an example in the published fine-tuning."""

_UNLIMITED = 10**9
"""Lengths from here on stand for none (transformers writes 10^30)."""


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A causal language model, its tokenizer and its template; artifact: None if not ours; context:
    tokens that it is to be given at most, None for all that it can take."""

    model: Any
    tokenizer: Any
    template: PromptTemplate
    artifact: Artifact | None = None
    context: int | None = None


@dataclass(frozen=True, slots=True)
class Weights:
    """Where the weights of a model lie: those of a whole model, and an adapter's or None."""

    model: Path
    adapter: Path | None


def save_language_model(draft: Draft, language: LanguageModel) -> None:
    """Write the folder's files into a draft; weights as safetensors."""
    with quiet_transformers():
        language.model.save_pretrained(draft.path)
    save_tokenizer(draft, language.tokenizer, language.template)


def save_network(draft: Draft, language: LanguageModel, number: int) -> None:
    """Write a further network of an ensemble; tokenizer and template are the first one's."""
    with quiet_transformers():
        language.model.save_pretrained(_network_folder(draft.path, number))


def save_tokenizer(draft: Draft, tokenizer: Any, template: PromptTemplate) -> None:
    """Write a tokenizer and the template that goes with it into a draft."""
    tokenizer.save_pretrained(draft.path)
    draft.write_json(_TEMPLATE, template.to_json())


def model_artifact(path: Path) -> Artifact | None:
    """The manifest of our model folder, checked; None for a folder of another origin.

    Raises InputError if there is no model at `path` at all; a missing folder never turns into a
    download of something else.
    """
    artifact = _opened(Path(path))
    return artifact if artifact and artifact.kind == KIND else None


def base_of(path: Path, base: Path | None = None) -> Base | None:
    """The base model beneath the adapter at `path`, in the folder `base` or where it is found.

    None if `path` holds a whole model. Raises ArtifactError if our adapter was trained on another.
    """
    if not _has(path, ADAPTER_CONFIG):
        return None
    if base is not None:
        return find_base(f"{base}" if base.is_absolute() else f"./{base}")
    name, revision = adapter_base(path)
    try:
        return find_base(name, revision=revision)
    except InputError as error:
        raise InputError(
            f"{path} is an adapter and needs its base model (--base): {error}"
        ) from None


def load_language_model(
    path: Path,
    *,
    device: str | None = None,
    loading: Loading = AS_IT_IS,
) -> LanguageModel:
    """Load a model folder for decoding: bf16 on a GPU, fp32 on a CPU; safetensors only.

    An adapter is merged into its base model, unless it is to be kept apart or the weights are of 4
    bits, which a merge would round. A folder without `prompt.json` gets the published system's
    template. Raises InputError or ArtifactError naming what is missing or damaged.
    """
    with _as_listed(Path(path)) as (folder, artifact):
        return _loaded(folder, artifact, device=device, loading=loading)


def _loaded(
    path: Path, artifact: Artifact | None, *, device: str | None, loading: Loading
) -> LanguageModel:
    base = base_of(path, loading.base)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if base is None:
        model = load_base(path, quantization=loading.quantization, device=device)
    else:
        if artifact is not None:
            _require_its_base(artifact, base)
        model = load_base(base.folder, quantization=loading.quantization, device=device)
        kept_apart = (
            loading.keep_adapters or getattr(model, "quantization_method", None) is not None
        )
        model = with_adapter(model, path, merge=not kept_apart)
    return _completed(path, base.folder if base else path, artifact, model, loading)


def _completed(
    path: Path, base: Path, artifact: Artifact | None, model: Any, loading: Loading
) -> LanguageModel:
    """A model with the tokenizer and template of its folder `path`, or of its base's."""
    tokenizer = load_tokenizer(path if _has_tokenizer(path) else base)
    context = loading.context or _trained_context(artifact)
    _require_positions(model, path)
    _require_rows(model, tokenizer, path)
    _find_end(tokenizer, model, path)
    return LanguageModel(model.eval(), tokenizer, template_of(path), artifact, context)


@contextmanager
def without_weights(path: Path, loading: Loading) -> Iterator[tuple[LanguageModel, Weights]]:
    """A model folder for an engine that reads the weights by itself, in the block: the model on the
    device "meta", which has shapes and no numbers, and where its weights lie.

    Raises what `load_language_model` does.
    """
    with _as_listed(Path(path)) as (folder, artifact):
        base = base_of(folder, loading.base)
        if base is not None and artifact is not None:
            _require_its_base(artifact, base)
        whole = base.folder if base else folder
        language = _completed(folder, whole, artifact, empty_model(whole), loading)
        yield language, Weights(whole, folder if base else None)


def context_of(language: LanguageModel) -> int:
    """Tokens that a model is given at most.

    Models without a table of positions may name no limit: then it is the tokenizer's, or the
    published system's.
    """
    config = language.model.config.get_text_config()
    named = (getattr(config, name, None) for name in _LENGTHS)
    most = next((length for length in named if isinstance(length, int) and length > 0), None)
    if most is None:
        most = language.tokenizer.model_max_length
    most = most if most < _UNLIMITED else _USUAL_CONTEXT
    return min(most, language.context or most)


def _require_positions(model: Any, path: Path) -> None:
    """Raise InputError for a model that cannot be told the position of each token.

    Beams of one prompt share its keys and values, and stand beside each other behind it. A model
    that counts positions by itself (BLOOM, and others with ALiBi) would count them in a row, and
    one that keeps a state (Mamba, RWKV) has nothing to share.
    """
    takes_positions = "position_ids" in inspect.signature(model.forward).parameters
    if not takes_positions or getattr(model.config, "alibi", False):
        raise InputError(
            f"{path} is a model of the type {model.config.model_type!r}, which takes no positions "
            "(position_ids): the beams of one prompt cannot share it. Take a model that does, such "
            "as Llama, Qwen or GPT-2"
        )


def _require_rows(model: Any, tokenizer: Any, path: Path) -> None:
    """Raise InputError if the tokenizer has tokens for which the model has no embedding."""
    rows = model.get_input_embeddings().num_embeddings
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if highest >= rows:
        raise InputError(
            f"{path}: its tokenizer has {highest + 1:,} tokens and its model embeddings of "
            f"{rows:,}: they are not of one model, or the model was not saved with its added tokens"
        )


def _find_end(tokenizer: Any, model: Any, path: Path) -> None:
    """Give a tokenizer without an end of text the one that its model names.

    Raises InputError if neither names one: a title would have no end.
    """
    if tokenizer.eos_token_id is None:
        named = (
            getattr(each, "eos_token_id", None) for each in (model.generation_config, model.config)
        )
        ends = [end[0] if isinstance(end, list) and end else end for end in named]
        end = next((end for end in ends if isinstance(end, int)), None)
        if end is None or tokenizer.convert_ids_to_tokens(end) is None:
            raise InputError(
                f"{path} names no end-of-text token: set eos_token in its tokenizer_config.json"
            )
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token


def load_networks(
    path: Path, *, device: str | None = None, loading: Loading = AS_IT_IS
) -> tuple[LanguageModel, ...]:
    """Load every network of a model folder, as `load_language_model` does the first: one, but in an
    ensemble that was trained from zero."""
    with _as_listed(Path(path)) as (folder, artifact):
        first = _loaded(folder, artifact, device=device, loading=loading)
        where = str(first.model.device)
        others = [
            load_base(network, quantization=loading.quantization, device=where)
            for network in _further_networks(folder)
        ]
    return (first, *(replace(first, model=model.eval()) for model in others))


def _further_networks(folder: Path) -> Iterator[Path]:
    """By what is there: a folder that was pulled has no summary that counts them."""
    numbers = takewhile(lambda n: _has(folder, f"network-{n}/config.json"), count(1))
    return (_network_folder(folder, number) for number in numbers)


def _network_folder(folder: Path, number: int) -> Path:
    return folder / f"network-{number}"


def _trained_context(artifact: Artifact | None) -> int | None:
    """The sequence length of a fine-tuned model: less than a pretrained one could take."""
    training = ModelConfig.of(artifact).training if artifact else None
    return training.sequence if isinstance(training, LoraTraining) else None


def _require_its_base(adapter: Artifact, base: Base) -> None:
    adapter.require_input("base", base.fingerprint(), f"the base model in {base.folder}")


def _has_tokenizer(folder: Path) -> bool:
    return _has(folder, "tokenizer.json") or _has(folder, "tokenizer.model")


def _has(folder: Path, name: str) -> bool:
    """Whether a model folder holds a file; of a folder with a manifest, one that it lists."""
    listing = listing_in(folder)
    return (folder / name).is_file() and (listing is None or name in listing.names)


def _opened(path: Path) -> Artifact | None:
    """The model folder that we have made or pulled, checked; None for one of another origin."""
    if not _has(path, "config.json") and not _has(path, ADAPTER_CONFIG):
        raise InputError(f"{path} is not a model folder: it has no config.json")
    if not (path / MANIFEST).is_file():
        return None
    listing = listing_in(path)
    return open_artifact(path, BASE_KIND if listing and listing.kind == BASE_KIND else KIND)


@contextmanager
def _as_listed(path: Path) -> Iterator[tuple[Path, Artifact | None]]:
    """A model folder to load from, without what its manifest does not list, and our manifest.

    What is loaded in the block is of one version.
    """
    artifact = _opened(path)
    if artifact is None:
        yield path, None
        return
    with artifact.reading(), artifact.folder() as folder:
        yield folder, artifact if artifact.kind == KIND else None


def template_of(folder: Path) -> PromptTemplate:
    """The template of a model folder; the published one if it holds none."""
    file = folder / _TEMPLATE
    if not _has(folder, _TEMPLATE):
        return PAPER_TEMPLATE
    try:
        parts = json.loads(file.read_bytes())
        if not all(isinstance(part, str) for part in parts.values()):
            raise ValueError("its parts are no texts")
        return PromptTemplate(**parts)
    except (ValueError, TypeError, AttributeError, RecursionError, ConfigError) as error:
        raise ArtifactError(f"{file} is damaged: {reason_of(error)}") from None
