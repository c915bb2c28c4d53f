"""Models on disk: ours (an artefact) and any Hugging Face folder, with the template they speak.

Our model folder is an ordinary Hugging Face one (config.json, model.safetensors, tokenizer.json)
plus `prompt.json` and the manifest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gloss.artifacts import MANIFEST, Artifact, Draft, open_artifact
from gloss.errors import ArtifactError, InputError
from gloss.prompts import PAPER_TEMPLATE, PromptTemplate

__all__ = ["KIND", "LanguageModel", "load_language_model", "model_artifact", "save_language_model"]

KIND = "model"
_TEMPLATE = "prompt.json"
_LOCAL = {"local_files_only": True, "trust_remote_code": False}


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A causal language model, its tokenizer and its template; artifact: None if not ours."""

    model: Any
    tokenizer: Any
    template: PromptTemplate
    artifact: Artifact | None = None


def save_language_model(draft: Draft, language: LanguageModel) -> None:
    """Write the folder's files into a draft; weights as safetensors."""
    language.model.save_pretrained(draft.path)
    language.tokenizer.save_pretrained(draft.path)
    draft.write_json(_TEMPLATE, language.template.to_json())


def model_artifact(path: Path) -> Artifact | None:
    """The manifest of our model folder, checked; None for a folder of another origin.

    Raises InputError if there is no model at `path` at all; a missing folder never turns into a
    download of something else.
    """
    path = Path(path)
    if not (path / "config.json").is_file():
        raise InputError(f"{path} is not a model folder: it has no config.json")
    return open_artifact(path, KIND) if (path / MANIFEST).is_file() else None


def load_language_model(path: Path, *, device: str | None = None) -> LanguageModel:
    """Load a model folder for decoding: bf16 on a GPU, fp32 on a CPU; safetensors only.

    A folder without `prompt.json` speaks the published system's template. Raises InputError or
    ArtifactError naming what is missing or damaged.
    """
    artifact = model_artifact(path)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, use_safetensors=True, output_loading_info=True, **_LOCAL
        )
        tokenizer = AutoTokenizer.from_pretrained(path, **_LOCAL)
    except Exception as error:  # every library beneath has errors of its own
        raise InputError(f"{path} cannot be loaded as a model: {_first_line(error)}") from error
    model, loading = loaded
    if loading["missing_keys"]:
        # transformers would go on with random numbers in their place.
        raise InputError(f"{path} is a model without {', '.join(sorted(loading['missing_keys']))}")
    return LanguageModel(
        torch.nn.Module.to(model, device).eval(), tokenizer, _template(Path(path)), artifact
    )


def _template(folder: Path) -> PromptTemplate:
    file = folder / _TEMPLATE
    if not file.is_file():
        return PAPER_TEMPLATE
    try:
        return PromptTemplate(**json.loads(file.read_bytes()))
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"{file} is damaged: {error}") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
