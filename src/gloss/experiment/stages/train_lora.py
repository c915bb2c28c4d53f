"""The stage `train` for the recipe `lora`: an adapter on a pretrained model, as one artefact.

adapter_config.json, adapter_model.safetensors   PEFT's own files
tokenizer.json …, prompt.json                    what it speaks
README.md                                        the model card
losses.jsonl                                     the curve
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gloss.artifacts import Artifact, Draft, Recipe, write_atomic
from gloss.config import LoraModel, LoraTraining
from gloss.data.dataset import Dataset
from gloss.data.titles import TitleStyle
from gloss.experiment.stages.together import make_together
from gloss.progress import Progress, silent
from gloss.training.processes import is_first_process

if TYPE_CHECKING:
    from gloss.choices import Backend
    from gloss.language.bases import Base
    from gloss.language.examples import Examples
    from gloss.language.lora.finetune import FinetuneRecord
    from gloss.language.records import ModelConfig
    from gloss.prompts import PromptTemplate

__all__ = ["plan_adapter", "train_adapter"]


_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Material:
    """What training reads: the base model's tokenizer and template, and the examples."""

    tokenizer: Any
    template: PromptTemplate
    train: Examples
    validation: Examples


def train_adapter(
    dataset: Path,
    out: Path,
    *,
    model: LoraModel,
    training: LoraTraining,
    titles: TitleStyle,
    seed: int,
    backend: Backend = "transformers",
    progress: Progress = silent,
) -> Artifact:
    """Fine-tune a base model on a data set: the adapter folder at `out`.

    A base that is a hub name is fetched if it is not here. Of several processes all call this
    (`gloss.training.processes`); the first one writes.
    """
    from gloss.language.bases import find_base
    from gloss.language.lora.adapters import require_lora
    from gloss.language.lora.finetune import finetune
    from gloss.language.lora.unsloth import require_unsloth
    from gloss.language.records import KIND, ModelConfig

    require_lora("fine-tuning", quantization=model.quantization)
    if backend == "unsloth":
        require_unsloth(training)
    data = Dataset.load(dataset)
    base = find_base(model.base, revision=model.revision, download=True, progress=progress)
    # The folder's place does not matter, what lies in it does.
    named = model.model_copy(update={"base": base.name, "revision": base.revision})
    config = ModelConfig(titles=titles, seed=seed, backend=backend, model=named, training=training)
    inputs = {"dataset": data.fingerprint, "base": base.fingerprint()}

    def train(folder: Path, material: _Material) -> FinetuneRecord:
        return finetune(
            base,
            material.train,
            material.validation,
            model=model,
            training=training,
            pad=int(material.tokenizer.pad_token_id),
            seed=seed,
            folder=folder,
            backend=backend,
            progress=progress,
        )

    def begin() -> Callable[[Draft], None]:
        material = _material(data, base, training, titles)

        def fill(draft: Draft) -> None:
            record = train(draft.path, material)
            if is_first_process():
                _write(draft, data, base, config, material, record)

        return fill

    recipe = Recipe(KIND, config.to_json(), inputs)
    return make_together(recipe, out, begin, scratch=("checkpoints",))


def plan_adapter(
    dataset: Path, *, model: LoraModel, training: LoraTraining, titles: TitleStyle
) -> dict[str, int]:
    """What `train_adapter` would do: examples, tokens, steps, and about how much memory."""
    from gloss.language.bases import find_base
    from gloss.language.lora.memory import plan_memory

    data = Dataset.load(dataset)
    base = find_base(model.base, revision=model.revision)
    material = _material(data, base, training, titles)
    lengths = [len(row.tokens) for row in material.train.rows]
    steps = -(-len(lengths) // (training.batch * training.accumulation))
    memory = plan_memory(base.folder, model, training, material.train)
    return {
        "training examples": len(lengths),
        "validation examples": len(material.validation.rows),
        "tokens an epoch": sum(lengths),
        "of them in answers": material.train.answers,
        "longest example": max(lengths),
        "purchases dropped from prompts": material.train.dropped,
        "steps an epoch": steps,
        "steps at most": steps * training.epochs,
        **memory,
    }


def _material(data: Dataset, base: Base, training: LoraTraining, titles: TitleStyle) -> _Material:
    from gloss.errors import InputError
    from gloss.language.examples import encode, examples_of
    from gloss.language.loading import template_of
    from gloss.language.lora.adapters import load_tokenizer

    tokenizer, template = load_tokenizer(base.folder), template_of(base.folder)
    catalogue = data.catalogue(titles)
    questions = examples_of(data.train())
    if not questions:
        raise InputError("there is nothing to train on: no user has two purchases or more")
    asked = data.examples("validation", limit=training.validation_users)
    room = {"sequence": training.sequence}
    train = encode(questions, catalogue, tokenizer, template, **room)
    if train.left_out:
        _LOG.warning(
            "warning: %s of %s training users are left out (%s, say): their next title, or all "
            "that they bought before, is longer than training.sequence (%s tokens)",
            f"{len(train.left_out):,}",
            f"{len(questions):,}",
            train.left_out[0],
            training.sequence,
        )
    return _Material(
        tokenizer, template, train, encode(asked, catalogue, tokenizer, template, **room)
    )


def _write(
    draft: Draft,
    data: Dataset,
    base: Base,
    config: ModelConfig,
    material: _Material,
    record: FinetuneRecord,
) -> None:
    from gloss.language.card import CardFacts, model_card
    from gloss.language.loading import save_tokenizer
    from gloss.training.optimization import threads_for_summary

    last = dict(record.losses[-1])
    last |= {
        key: row[key] for row in record.losses for key in row if row["step"] <= record.best_step
    }
    counts = {
        "training examples": len(material.train.rows),
        "validation examples": len(material.validation.rows),
        "purchases dropped from prompts": material.train.dropped,
        "tokens trained on": record.tokens,
        "steps": record.steps,
        "step that was kept": record.best_step,
        "parameters of the adapter": record.trainable,
    }
    losses = {name: value for name, value in last.items() if name != "step"}
    how = config.to_json()
    recipe = {k: v for k, v in how["model"].items() if k not in ("recipe", "base", "revision")}
    save_tokenizer(draft, material.tokenizer, material.template)
    draft.write_lines("losses.jsonl", list(record.losses))
    facts = CardFacts(
        base=base.name,
        revision=base.revision,
        data=data.name,
        split=data.split,
        titles=config.titles,
        seed=config.seed,
        backend=config.backend or "transformers",
        recipe={**recipe, **how["training"]},
        counts=counts,
        losses=losses,
    )
    write_atomic(draft.path / "README.md", model_card(facts, material.template).encode())
    draft.summary.update(
        {
            "parameters": record.parameters,
            "trainable parameters": record.trainable,
            "examples": len(material.train.rows),
            "purchases dropped from prompts": material.train.dropped,
            "steps": record.steps,
            "kept step": record.best_step,
            "tokens": record.tokens,
            **losses,
            **threads_for_summary(),
        }
    )
