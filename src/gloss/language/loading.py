"""Models on disk, with the prompt template that goes with them: ours (an artefact) and any Hugging
Face folder.

Our model folder is an ordinary Hugging Face one (config.json, model.safetensors, tokenizer.json),
or an ordinary PEFT adapter, plus `prompt.json` and the manifest. Further networks of an ensemble
lie in `network-1/`, `network-2/`, …, weights and config.json only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import torch

from gloss.artifacts import MANIFEST, Artifact, Draft, open_artifact
from gloss.config import AS_IT_IS, Loading
from gloss.errors import ArtifactError, InputError
from gloss.language.bases import Base, find_base
from gloss.language.hub import BASE_KIND
from gloss.language.lora.adapters import (
    ADAPTER_CONFIG,
    adapter_base,
    load_base,
    load_tokenizer,
    with_adapter,
)
from gloss.language.quiet import quiet_transformers
from gloss.prompts import PAPER_TEMPLATE, PromptTemplate

__all__ = [
    "KIND",
    "LanguageModel",
    "base_of",
    "load_language_model",
    "load_networks",
    "model_artifact",
    "save_language_model",
    "save_network",
    "save_tokenizer",
    "template_of",
]

KIND = "model"
_TEMPLATE = "prompt.json"


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A causal language model, its tokenizer and its template; artifact: None if not ours; context:
    tokens that it is to be given at most, None for all that it can take."""

    model: Any
    tokenizer: Any
    template: PromptTemplate
    artifact: Artifact | None = None
    context: int | None = None


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
    path = Path(path)
    if not (path / "config.json").is_file() and not (path / ADAPTER_CONFIG).is_file():
        raise InputError(f"{path} is not a model folder: it has no config.json")
    if not (path / MANIFEST).is_file():
        return None
    if _is_pulled(path):
        open_artifact(path, BASE_KIND)
        return None
    return open_artifact(path, KIND)


def base_of(path: Path, base: Path | None = None) -> Base | None:
    """The base model beneath the adapter at `path`, in the folder `base` or where it is found.

    None if `path` holds a whole model. Raises ArtifactError if our adapter was trained on another.
    """
    if not (path / ADAPTER_CONFIG).is_file():
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
    path = Path(path)
    artifact = model_artifact(path)
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
    tokenizer_folder = path if base is None or _has_tokenizer(path) else base.folder
    context = loading.context or _trained_context(artifact)
    tokenizer = load_tokenizer(tokenizer_folder)
    return LanguageModel(model.eval(), tokenizer, template_of(path), artifact, context)


def load_networks(
    path: Path, *, device: str | None = None, loading: Loading = AS_IT_IS
) -> tuple[LanguageModel, ...]:
    """Load every network of a model folder, as `load_language_model` does the first: one, but in an
    ensemble that was trained from zero."""
    first = load_language_model(path, device=device, loading=loading)
    where = str(first.model.device)
    others = [
        load_base(folder, quantization=loading.quantization, device=where)
        for folder in _further_networks(Path(path))
    ]
    return (first, *(replace(first, model=model.eval()) for model in others))


def _further_networks(folder: Path) -> Iterator[Path]:
    """By what is there: a folder that was pulled has no manifest that counts them."""
    return takewhile(Path.is_dir, (_network_folder(folder, number) for number in count(1)))


def _network_folder(folder: Path, number: int) -> Path:
    return folder / f"network-{number}"


def _trained_context(artifact: Artifact | None) -> int | None:
    """The sequence length of a fine-tuned model: less than a pretrained one could take."""
    training = artifact.config.get("training", {}) if artifact else {}
    sequence = training.get("sequence")
    return sequence if isinstance(sequence, int) else None


def _require_its_base(adapter: Artifact, base: Base) -> None:
    adapter.require_input("base", base.fingerprint(), f"the base model in {base.folder}")


def _has_tokenizer(folder: Path) -> bool:
    return (folder / "tokenizer.json").is_file() or (folder / "tokenizer.model").is_file()


def _is_pulled(path: Path) -> bool:
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
    except ValueError:
        return False
    return isinstance(manifest, dict) and manifest.get("kind") == BASE_KIND


def template_of(folder: Path) -> PromptTemplate:
    """The template of a model folder; the published one if it holds none."""
    file = folder / _TEMPLATE
    if not file.is_file():
        return PAPER_TEMPLATE
    try:
        return PromptTemplate(**json.loads(file.read_bytes()))
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"{file} is damaged: {error}") from None
