"""transformers' Trainer for our batches. Needs the extra `lora`.

The Trainer brings several GPUs (`torchrun`, `accelerate launch`) and trackers; added here are a
validation loss that is exact however examples are batched, and checkpoints that a killed run goes
on from with the same bits. The defaults are the published recipe.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gloss.config import LoraTraining
from gloss.errors import ConfigError, UsageError
from gloss.language.examples import EncodedExample
from gloss.language.lora.adapt import Adapted
from gloss.language.lora.callbacks import (
    LOG_STEPS,
    EarlyStopping,
    RefuseDivergence,
    SaveCheckpoints,
)
from gloss.language.packing import LossOn, PackedCollator, PaddedCollator
from gloss.language.quiet import quiet_transformers
from gloss.training.processes import process_count

with quiet_transformers():
    from transformers import PrinterCallback, Trainer, TrainingArguments

__all__ = ["ExampleDataset", "collator_of", "make_trainer"]

_OPTIMIZERS = {"adamw-8bit": "adamw_8bit", "adamw": "adamw_torch_fused"}

Collator = Callable[[Sequence[EncodedExample]], dict[str, Any]]


def make_trainer(
    adapted: Adapted,
    train: Sequence[EncodedExample],
    validation: Sequence[EncodedExample],
    training: LoraTraining,
    *,
    pad: int,
    seed: int,
    folder: Path,
) -> Trainer:
    """The Trainer of a recipe, with every default that matters written out. folder: of its
    checkpoints."""
    trainer = _ExactTrainer(
        model=adapted.model,
        args=_arguments(training, seed=seed, folder=folder, validated=bool(validation)),
        data_collator=collator_of(adapted, training, training.loss_on, pad=pad),
        train_dataset=ExampleDataset(train),
        eval_dataset=ExampleDataset(_filled(validation, training, pad)) if validation else None,
        callbacks=[RefuseDivergence(), SaveCheckpoints(folder), EarlyStopping(training)],
    )
    trainer.remove_callback(PrinterCallback)
    if not trainer.model_accepts_loss_kwargs:
        raise UsageError(
            f"{type(adapted.model).__name__} cannot divide its loss by the tokens of a step: this "
            "architecture cannot be fine-tuned here"
        )
    return trainer


def _filled(
    examples: Sequence[EncodedExample], training: LoraTraining, pad: int
) -> Sequence[EncodedExample]:
    """Followed by examples without loss, so that all processes read full batches: accelerate
    would fill them up with examples that count twice."""
    if process_count() == 1:
        return examples
    missing = -len(examples) % (training.batch * process_count())
    return [*examples, *[EncodedExample(np.array([pad], np.int32), 0)] * missing]


def collator_of(adapted: Adapted, training: LoraTraining, loss_on: LossOn, *, pad: int) -> Collator:
    """What makes batches of examples, as the recipe and the model need them."""
    if training.packing:
        return PackedCollator(loss_on, adapted.packed_attention)
    return PaddedCollator(pad, loss_on, shifted=not adapted.shifts_labels)


class ExampleDataset(torch.utils.data.Dataset[EncodedExample]):
    """Examples as torch wants them."""

    def __init__(self, examples: Sequence[EncodedExample]) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, row: int) -> EncodedExample:
        return self._examples[row]


class _ExactTrainer(Trainer):
    """The Trainer with a validation loss that is the mean over tokens, not over batches."""

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Nats a token that carries loss, over all processes; logged as the Trainer's."""
        model: Any = self.model
        was_training = model.training
        model.eval()
        total = torch.zeros(2, dtype=torch.float64, device=self.args.device)  # loss, tokens
        for batch in self.get_eval_dataloader(eval_dataset):
            total += self._loss_sum(batch)
        model.train(was_training)
        loss_sum, tokens = self.accelerator.reduce(total, "sum").tolist()
        metrics = {f"{metric_key_prefix}_loss": loss_sum / max(1.0, tokens)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _loss_sum(self, batch: Any) -> torch.Tensor:
        """float64 (2,): the loss of a batch summed over its tokens, and how many these are."""
        with torch.no_grad(), self.compute_loss_context_manager():
            inputs = self._prepare_inputs(batch)
            # The model divides its loss by this number of tokens.
            one = torch.ones((), device=self.args.device)
            loss = self.model_wrapped(**inputs, num_items_in_batch=one).loss
        targets = inputs.get("shift_labels", inputs["labels"][..., 1:])
        return torch.stack([loss.double(), (targets >= 0).sum().double()])


def _batches_of_a_step(training: LoraTraining) -> tuple[int, int]:
    """Examples of a batch, and batches of a step, of each process: a step has as many examples
    whatever the number of processes.

    Raises ConfigError if they cannot be shared out.
    """
    examples, processes = training.batch * training.accumulation, process_count()
    own = examples // processes
    batch = math.gcd(own, training.batch)
    if own * processes != examples:
        raise ConfigError(
            f"training.batch x training.accumulation ({examples}) examples of a step cannot be "
            f"shared out among {processes} processes: take a multiple"
        )
    return batch, own // batch


def _arguments(
    training: LoraTraining, *, seed: int, folder: Path, validated: bool
) -> TrainingArguments:
    cuda = torch.cuda.is_available()
    batch, accumulation = _batches_of_a_step(training)
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=training.batch,
        gradient_accumulation_steps=accumulation,
        learning_rate=training.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=training.warmup_steps,
        optim=_OPTIMIZERS[training.optimizer],
        weight_decay=training.weight_decay,
        adam_beta1=0.9,
        adam_beta2=0.999,
        adam_epsilon=1e-8,
        max_grad_norm=training.clip,
        bf16=cuda,
        use_cpu=not cuda,
        torch_compile=training.compile,
        seed=seed,
        data_seed=seed,
        eval_strategy="epoch" if validated else "no",
        save_strategy="epoch",
        metric_for_best_model="eval_loss" if validated else None,
        greater_is_better=False,
        logging_strategy="steps",
        logging_steps=LOG_STEPS,
        logging_nan_inf_filter=False,
        report_to=list(training.report_to) or "none",
        disable_tqdm=True,
        remove_unused_columns=False,
        average_tokens_across_devices=True,
        ddp_find_unused_parameters=False,
        dataloader_drop_last=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=cuda,
    )
    # Without `torchrun` one GPU is used; the Trainer would split batches over all it sees.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments
