"""LoRA and QLoRA of a pretrained model, from examples to an adapter's files. Needs the extra
`lora`.

Knows token sequences and folders; titles become tokens in `gloss.language.examples`.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gloss.artifacts import write_atomic
from gloss.choices import Backend
from gloss.config import LoraModel, LoraTraining
from gloss.errors import ArtifactError, UsageError
from gloss.language.bases import Base
from gloss.language.examples import EncodedExample, Examples
from gloss.language.lora import checkpoints
from gloss.language.lora.adapt import adapt, base_parameters
from gloss.language.lora.adapters import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    require_lora,
    trainable_parameters,
)
from gloss.language.lora.callbacks import ReportProgress
from gloss.language.lora.trainer import make_trainer
from gloss.language.quiet import quiet_transformers
from gloss.progress import Progress, silent
from gloss.training.processes import is_first_process, wait_for_all

__all__ = ["FinetuneRecord", "finetune"]


@dataclass(frozen=True, slots=True)
class FinetuneRecord:
    """What a run went through.

    losses: rows as the Trainer logged them, without times; steps: all that were made; best_step:
    whose adapter was kept; tokens: trained on; parameters: of the whole model; trainable: of the
    adapter.
    """

    losses: tuple[dict[str, float], ...]
    steps: int
    best_step: int
    tokens: int
    parameters: int
    trainable: int


def finetune(
    base: Base,
    train: Examples,
    validation: Examples,
    *,
    model: LoraModel,
    training: LoraTraining,
    pad: int,
    seed: int,
    folder: Path,
    backend: Backend = "transformers",
    progress: Progress = silent,
) -> FinetuneRecord:
    """Train an adapter; its files stand in `folder` when this returns.

    Goes on from what an interrupted run left in `folder`/checkpoints; removing that is the
    caller's. Under `torchrun` every process calls this, with the same arguments.
    """
    require_lora("fine-tuning", quantization=model.quantization)
    _prepare_trackers(training.report_to, folder.with_name("logs"))
    saved = folder / "checkpoints"
    last = checkpoints.latest(saved)
    wait_for_all()  # nobody saves before everybody has looked
    with quiet_transformers():
        adapted = adapt(base, model, training, train.rows, seed=seed, backend=backend)
        trainer = make_trainer(
            adapted, train.rows, validation.rows, training, pad=pad, seed=seed, folder=saved
        )
        trainer.add_callback(ReportProgress(progress, train.tokens / max(1, len(train.rows))))
        history = checkpoints.history_of(last) if last else []
        if not checkpoints.is_done(history, patience=training.patience, epochs=training.epochs):
            trainer.train(resume_from_checkpoint=str(last) if last else None)
            history = trainer.state.log_history
    steps = int(max(row["step"] for row in history))
    best = checkpoints.best_step(history) or steps
    if is_first_process():
        _take_adapter(checkpoints.checkpoint_of(saved, best), folder)
    return FinetuneRecord(
        losses=tuple(_loss_rows(history)),
        steps=steps,
        best_step=best,
        tokens=_tokens_after(steps, train.rows, trainer.args),
        parameters=base_parameters(adapted.model),
        trainable=trainable_parameters(adapted.model),
    )


def _prepare_trackers(names: Sequence[str], folder: Path) -> None:
    """Raise UsageError for a tracker that is not installed; TensorBoard's files lie in `folder`."""
    for name in names:
        if find_spec(name) is None:
            raise UsageError(f"training.report_to: {name} is not installed: pip install {name}")
    if "tensorboard" in names:
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(folder))


def _take_adapter(checkpoint: Path, folder: Path) -> None:
    """Copy an adapter out of a checkpoint, its settings in an order that is always the same."""
    if not (checkpoint / ADAPTER_WEIGHTS).is_file():
        raise ArtifactError(
            f"{checkpoint} has no {ADAPTER_WEIGHTS}: with FSDP, save whole weights "
            "(fsdp_state_dict_type: FULL_STATE_DICT)"
        )
    shutil.copyfile(checkpoint / ADAPTER_WEIGHTS, folder / ADAPTER_WEIGHTS)
    config = json.loads((checkpoint / ADAPTER_CONFIG).read_bytes())
    config["target_modules"] = sorted(config["target_modules"])  # PEFT holds them as a set
    write_atomic(folder / ADAPTER_CONFIG, (json.dumps(config, indent=1) + "\n").encode())


def _loss_rows(history: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """The losses among what the Trainer logged, by our names.

    >>> _loss_rows([{"step": 10, "loss": 2.5, "grad_norm": 1.0}, {"step": 10, "total_flos": 3.0}])
    [{'step': 10, 'loss': 2.5}]
    """
    names = {"step": "step", "loss": "loss", "eval_loss": "validation_loss"}
    rows = [{names[key]: row[key] for key in names if key in row} for row in history]
    return [row for row in rows if len(row) > 1]


def _tokens_after(steps: int, examples: Sequence[EncodedExample], arguments: Any) -> int:
    """Tokens of the examples that so many steps read, counted as whole epochs and a share.

    arguments: the Trainer's.
    """
    step_examples = arguments.train_batch_size * arguments.gradient_accumulation_steps
    epoch_steps: int = math.ceil(len(examples) / (step_examples * arguments.world_size))
    return round(sum(len(example.tokens) for example in examples) * steps / epoch_steps)
