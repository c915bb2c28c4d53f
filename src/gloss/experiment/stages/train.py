"""The stage `train`: from a data set to a model, and from a model to one that has learned more."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gloss.artifacts import Artifact, Draft, Recipe
from gloss.config import (
    Distillation,
    LoraModel,
    LoraTraining,
    ModelSettings,
    ScratchModel,
    Training,
    TrainingSettings,
)
from gloss.data.dataset import Dataset
from gloss.data.titles import TitleStyle
from gloss.errors import ConfigError, require_extra
from gloss.experiment.stages.together import make_together
from gloss.experiment.stages.train_lora import plan_adapter, train_adapter
from gloss.progress import Progress, part_of, silent
from gloss.rankers.retraining import shorter
from gloss.rankers.sources import RankerSources
from gloss.rankers.specs import ranker_named
from gloss.training.processes import is_first_process, wait_for_all

if TYPE_CHECKING:
    from gloss.choices import Backend
    from gloss.language.loading import LanguageModel
    from gloss.language.scratch.distillation import Teacher
    from gloss.training.loop import TrainingRecord

__all__ = ["plan", "train", "train_further"]

_MISFIT = "the model's recipe and its training section do not fit together"
_NO_TEACHER = Distillation()
_Trained = Callable[..., "tuple[LanguageModel, TrainingRecord]"]
"""Trains a network: (seed, checkpoint, progress) -> what came of it."""

_TRAINING = "training"
"""Where a draft keeps checkpoints, and which networks are done."""


def train(
    dataset: Path,
    out: Path,
    *,
    model: ModelSettings,
    training: TrainingSettings,
    titles: TitleStyle,
    seed: int,
    distillation: Distillation = _NO_TEACHER,
    sources: RankerSources | None = None,
    backend: Backend = "transformers",
    progress: Progress = silent,
) -> Artifact:
    """Train a language model on a data set: the model folder at `out`.

    Of several processes all call this (`gloss.training.processes`); the first one writes.
    sources: what the teachers of `distillation` are built from, trained. With teachers and without
    sources it raises ConfigError.
    backend: who trains an adapter; a model from zero knows none but ours.
    """
    if backend == "unsloth":
        # It changes transformers as it is imported, so it has to come first; what keeps it from
        # being imported is told where it is used.
        with suppress(Exception):
            import_module("unsloth")
    require_extra("training", "train", "torch", "transformers")
    if isinstance(model, LoraModel) and isinstance(training, LoraTraining):
        return train_adapter(
            dataset,
            out,
            model=model,
            training=training,
            titles=titles,
            seed=seed,
            backend=backend,
            progress=progress,
        )
    if not isinstance(model, ScratchModel) or not isinstance(training, Training):
        raise ConfigError(_MISFIT)
    if backend != "transformers":
        raise ConfigError(f"the backend {backend} trains adapters only (model.recipe: lora)")
    from gloss.language.records import KIND, ModelConfig
    from gloss.language.scratch.train import train_from_zero

    data = Dataset.load(dataset)
    config = ModelConfig(
        titles=titles,
        seed=seed,
        model=model,
        training=training,
        distillation=distillation if distillation.teachers else None,
    )
    inputs = {"dataset": data.fingerprint, **_inputs_of(distillation, sources)}

    def fill(draft: Draft) -> None:
        (draft.path / _TRAINING).mkdir(exist_ok=True)
        trained = partial(
            train_from_zero,
            data,
            titles=titles,
            model=model,
            training=training,
            teacher=_teacher_of(distillation, sources),
            distillation=distillation,
        )
        _train_networks(draft, [trained] * model.networks, seed=seed, progress=progress)

    recipe = Recipe(KIND, config.to_json(), inputs)
    return make_together(recipe, out, lambda: fill, scratch=(_TRAINING,))


def train_further(
    earlier: Artifact, dataset: Dataset, out: Path, *, progress: Progress = silent
) -> Artifact:
    """Train a model from zero further, from its weights and with its tokenizer, on a data set that
    has grown: the model folder at `out`, whose manifest has the settings of the first training.

    For a share of the epochs and of the steps in which the rate rises (`shorter`).
    """
    require_extra("training", "train", "torch", "transformers")
    from gloss.language.loading import load_networks
    from gloss.language.records import KIND, ModelConfig
    from gloss.language.scratch.train import train_from_zero

    config = ModelConfig.of(earlier)
    model, training = config.model, config.training
    if not isinstance(model, ScratchModel) or not isinstance(training, Training):
        raise ConfigError(f"{earlier.path} is no model from zero, and is not trained further")
    share = {
        "epochs": shorter(training.epochs),
        "warmup_steps": shorter(training.warmup_steps),
    }
    trained = partial(
        train_from_zero,
        dataset,
        titles=config.titles,
        model=model,
        training=training.model_copy(update=share),
    )

    def fill(draft: Draft) -> None:
        (draft.path / _TRAINING).mkdir(exist_ok=True)
        networks = load_networks(earlier.path, device="cpu")  # in fp32
        further = [partial(trained, start=network) for network in networks]
        _train_networks(draft, further, seed=config.seed, progress=progress)

    inputs = {"dataset": dataset.fingerprint, "earlier": earlier.fingerprint}
    recipe = Recipe(KIND, earlier.config, inputs)
    return recipe.make(out, fill, scratch=(_TRAINING,), is_work=True)


def _inputs_of(settings: Distillation, sources: RankerSources | None) -> dict[str, str]:
    """The fingerprints of what teachers are built from, by what a manifest calls them."""
    if settings.teachers and sources is None:
        raise ConfigError(
            "distillation.teachers have to be trained first: use gloss run, or set "
            "distillation.teachers=[]"
        )
    inputs: dict[str, str] = {}
    for spec in map(ranker_named, settings.teachers):
        assert sources is not None
        inputs |= sources.inputs(spec, sources.settings_of(spec, spec.settings()))
    return inputs


def _teacher_of(settings: Distillation, sources: RankerSources | None) -> Teacher | None:
    """The teacher, on the device that the model is trained on."""
    if sources is None or not settings.teachers:
        return None
    import torch

    from gloss.rankers.teaching import RankersTeach

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rankers = []
    for spec in map(ranker_named, settings.teachers):
        if spec.teacher is None:
            raise ConfigError(f"{spec.name} cannot teach: its scores are no probabilities")
        rankers.append(spec.teacher(sources, sources.settings_of(spec, spec.settings()), device))
    return RankersTeach(rankers, settings, items=len(sources.catalogue), device=device)


def _train_networks(
    draft: Draft, networks: Sequence[_Trained], *, seed: int, progress: Progress
) -> None:
    """Train and write all networks of a model, and say in the summary what they took."""
    records = [
        _train_network(
            draft,
            number,
            trained,
            seed=seed + number,
            progress=part_of(progress, number, len(networks)),
        )
        for number, trained in enumerate(networks)
    ]
    added = ("parameters", "steps", "tokens")
    draft.summary.update(records[0])
    draft.summary.update({name: sum(each[name] for each in records) for name in added})


def _train_network(
    draft: Draft,
    number: int,
    trained: _Trained,
    *,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Train and write one network, unless an earlier try has; returns what is to be said of it."""
    done = draft.path / _TRAINING / f"{number}.json"
    if not (draft.is_finished(_part(number)) and done.is_file()):
        checkpoint = done.with_suffix(".pt")
        language, record = trained(seed=seed, checkpoint=checkpoint, progress=progress)
        if is_first_process():
            _write_network(draft, number, language, record)
        wait_for_all()
    found: dict[str, Any] = json.loads(done.read_bytes())
    return found


def _write_network(
    draft: Draft, number: int, language: LanguageModel, record: TrainingRecord
) -> None:
    from gloss.language.loading import save_language_model, save_network
    from gloss.training.optimization import threads_for_summary

    if number == 0:
        save_language_model(draft, language)
    else:
        save_network(draft, language, number)
    losses = "losses.jsonl" if number == 0 else f"losses-{number}.jsonl"
    draft.write_lines(losses, list(record.losses))
    summary = {
        "parameters": language.model.num_parameters(),
        "steps": record.steps,
        "tokens": record.units,
        **record.losses[-1],
        **threads_for_summary(),
    }
    draft.write_json(f"{_TRAINING}/{number}.json", summary)
    draft.finish(_part(number), [name for name in draft.names() if _network_of(name) == number])


def _part(number: int) -> str:
    """What a network is called among the finished parts of a draft."""
    return f"network {number}"


def _network_of(name: str) -> int:
    """Which network of an ensemble a file of the model folder belongs to."""
    found = re.match(r"(?:network-|losses-)(\d+)", name)
    return int(found[1]) if found else 0


def plan(
    dataset: Path, *, model: ModelSettings, training: TrainingSettings, titles: TitleStyle
) -> dict[str, int]:
    """What `train` would do: how many examples, tokens and steps."""
    require_extra("training", "train", "torch", "transformers")
    if isinstance(model, LoraModel) and isinstance(training, LoraTraining):
        return plan_adapter(dataset, model=model, training=training, titles=titles)
    if not isinstance(model, ScratchModel) or not isinstance(training, Training):
        raise ConfigError(_MISFIT)
    from gloss.language.scratch.documents import Documents
    from gloss.language.scratch.tokenizer import train_tokenizer

    data = Dataset.load(dataset)
    catalogue = data.catalogue(titles)
    tokenizer = train_tokenizer(catalogue.titles, vocabulary=model.vocabulary)
    documents = Documents(catalogue, tokenizer, context=model.context)
    lengths = [len(documents.of(history.items)) for history in data.train()]
    return {
        "training users": len(lengths),
        "longest document": max(lengths, default=0),
        "tokens an epoch, at most": sum(lengths),
        "epochs": training.epochs,
        "networks": model.networks,
    }
