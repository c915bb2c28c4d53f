"""LoRA and QLoRA of a pretrained model with transformers' Trainer and PEFT. Needs the extra `lora`.

The defaults are the published recipe. The Trainer brings several GPUs (`torchrun`, `accelerate
launch`) and trackers; here are our batches, a validation loss that is exact however examples are
batched, and checkpoints that a killed run goes on from with the same bits.

Knows token sequences and folders; titles become tokens in `examples`.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from gloss.artifacts import write_atomic
from gloss.choices import Backend
from gloss.config import LoraModel, LoraTraining
from gloss.errors import ArtifactError, UsageError
from gloss.language.bases import Base
from gloss.language.examples import EncodedExample, Examples
from gloss.language.lora import checkpoints
from gloss.language.lora.adapters import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    add_adapter,
    load_base,
    require_lora,
    trainable_parameters,
)
from gloss.language.lora.memory import needs_checkpointing
from gloss.language.packing import PACKED_ATTENTION, Packed, Padded, understands_packing
from gloss.progress import Progress, silent

__all__ = [
    "Adapted",
    "FinetuneRecord",
    "adapt",
    "finetune",
    "is_main_process",
    "make_trainer",
    "wait_for_everyone",
]

_LOG_STEPS = 10
_CHECKPOINT_SECONDS = 300.0
_OPTIMIZERS = {"adamw-8bit": "adamw_8bit", "adamw": "adamw_torch_fused"}


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


@dataclass(frozen=True, slots=True)
class Adapted:
    """A model with its new adapter. attends: whether packed batches may use our attention; shifts:
    whether it shifts labels itself, as foreign training code does."""

    model: Any
    attends: bool
    shifts: bool = False


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
    wait_for_everyone()
    saved = folder / "checkpoints"
    found = checkpoints.latest(saved)
    wait_for_everyone()
    adapted = adapt(base, model, training, train.rows, seed=seed, backend=backend)
    trainer = make_trainer(
        adapted, train.rows, validation.rows, training, pad=pad, seed=seed, folder=saved
    )
    trainer.add_callback(_Told(progress, train.tokens / max(1, len(train.rows))))
    history = checkpoints.history_of(found) if found else []
    if not checkpoints.is_done(history, patience=training.patience, epochs=training.epochs):
        trainer.train(resume_from_checkpoint=str(found) if found else None)
        history = trainer.state.log_history
    steps = int(max(row["step"] for row in history))
    best = checkpoints.best_step(history) or steps
    if is_main_process():
        _take(checkpoints.checkpoint_of(saved, best), folder)
    return FinetuneRecord(
        losses=tuple(_rows(history)),
        steps=steps,
        best_step=best,
        tokens=_tokens_after(steps, train.rows, trainer),
        parameters=base_parameters(adapted.model),
        trainable=trainable_parameters(adapted.model),
    )


def adapt(
    base: Base,
    model: LoraModel,
    training: LoraTraining,
    rows: Sequence[EncodedExample],
    *,
    seed: int,
    backend: Backend = "transformers",
) -> Adapted:
    """Load the base model and put a new adapter on it; `rows` tell how much memory is needed."""
    device = _device()
    if backend == "unsloth":
        from gloss.language.lora.unsloth import adapt_with_unsloth

        adapted = adapt_with_unsloth(base, model, training, seed=seed)
        return Adapted(adapted, attends=False, shifts=True)
    loaded = load_base(base.folder, quantization=model.quantization, device=device)
    attends = training.packing and understands_packing(loaded.config)
    if attends:
        loaded.set_attn_implementation(PACKED_ATTENTION)
    loaded.config.use_cache = False
    adapted = add_adapter(loaded, model, base, seed=seed)
    if device != "cpu":
        _leave_inputs_in_half_precision(adapted)
    if _checkpoints_gradients(loaded.config, training, rows, device):
        # Not through the Trainer's own setting: like this, it has two names, by version.
        name = "activation_checkpointing_enable"
        enable = getattr(loaded, name, None) or loaded.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    return Adapted(adapted, attends)


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
    """The Trainer of a recipe, with every default that matters written out."""
    collate: Callable[[Sequence[EncodedExample]], dict[str, Any]] = (
        Packed(training.loss_on, adapted.attends)
        if training.packing
        else Padded(pad, training.loss_on, shifted=not adapted.shifts)
    )
    arguments = _arguments(training, seed=seed, folder=folder, validated=bool(validation))
    trainer = _Exact(
        model=adapted.model,
        args=arguments,
        data_collator=collate,
        train_dataset=_Rows(train),
        eval_dataset=_Rows(validation) if validation else None,
        callbacks=[_Keeping(folder), _Patience(training)],
    )
    trainer.remove_callback(PrinterCallback)
    if not trainer.model_accepts_loss_kwargs:
        raise UsageError(
            f"{type(adapted.model).__name__} cannot divide its loss by the tokens of a step: this "
            "architecture cannot be fine-tuned here"
        )
    return trainer


def is_main_process() -> bool:
    """Whether this is the process that writes; true where there is only one."""
    return int(os.environ.get("RANK", "0")) == 0


def wait_for_everyone() -> None:
    """Let all processes of `torchrun` arrive here."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        accelerate: Any = import_module("accelerate")
        accelerate.PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()


def base_parameters(model: Any) -> int:
    """Parameters of the model beneath an adapter; a byte of 4-bit weights holds two."""
    return int(model.get_base_model().num_parameters()) - trainable_parameters(model)


class _Rows(torch.utils.data.Dataset[EncodedExample]):
    """Examples as torch wants them."""

    def __init__(self, rows: Sequence[EncodedExample]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> EncodedExample:
        return self.rows[place]


class _Exact(Trainer):
    """The Trainer with a validation loss that is the mean over tokens, not over batches."""

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Nats a token that carries loss, over all processes; logged and told as the Trainer's."""
        model: Any = self.model
        was_training = model.training
        model.eval()
        total = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        for batch in self.get_eval_dataloader(eval_dataset):
            with torch.no_grad(), self.compute_loss_context_manager():
                inputs = self._prepare_inputs(batch)
                # Divided by one: the sum over the batch's tokens.
                one = torch.ones((), device=self.args.device)
                loss = self.model_wrapped(**inputs, num_items_in_batch=one).loss
            wanted = inputs.get("shift_labels", inputs["labels"][..., 1:])
            counted = (wanted >= 0).sum()
            total += torch.stack([loss.double(), counted.double()])
        model.train(was_training)
        loss_sum, tokens = self.accelerator.reduce(total, "sum").tolist()
        metrics = {f"{metric_key_prefix}_loss": loss_sum / max(1.0, tokens)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics


class _Keeping(TrainerCallback):
    """Saves now and then, marks what is whole, and removes what is no longer needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.saved_at = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        # Only where the loss is logged too, so that the curve does not tell when it was saved.
        late = time.monotonic() - self.saved_at > _CHECKPOINT_SECONDS
        if late and state.global_step % _LOG_STEPS == 0 and args.world_size == 1:
            control.should_save = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        control.should_log = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.saved_at = time.monotonic()
        if args.world_size > 1:
            wait_for_everyone()
        if state.is_world_process_zero:
            checkpoints.mark(checkpoints.checkpoint_of(self.folder, state.global_step))
            best = checkpoints.best_step(state.log_history)
            kept = [state.global_step, *([best] if best is not None else [])]
            checkpoints.keep_only(self.folder, kept)


class _Patience(TrainerCallback):
    """Stops when the validation loss has not been the best for so many epochs.

    The Trainer's own forgets that it has stopped when it is killed between that and its end.
    """

    def __init__(self, training: LoraTraining) -> None:
        self.training = training

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        patience, epochs = self.training.patience, self.training.epochs
        if checkpoints.is_done(state.log_history, patience=patience, epochs=epochs):
            control.should_training_stop = True


class _Told(TrainerCallback):
    """Turns steps into progress with the loss and the speed."""

    def __init__(self, progress: Progress, tokens_each: float) -> None:
        self.progress, self.tokens_each = progress, tokens_each
        self.started, self.first = 0.0, 0

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if not self.started:
            self.started, self.first = time.monotonic(), state.global_step

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        examples = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        seconds = max(1e-9, time.monotonic() - self.started)
        speed = (state.global_step - self.first) * examples * self.tokens_each / seconds
        last = next((row["loss"] for row in reversed(state.log_history) if "loss" in row), None)
        loss = f"loss {last:.3f}, " if last is not None else ""
        self.progress(state.global_step, state.max_steps, f"{loss}about {speed:,.0f} tokens/s")


def _arguments(
    training: LoraTraining, *, seed: int, folder: Path, validated: bool
) -> TrainingArguments:
    cuda = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch,
        per_device_eval_batch_size=training.batch,
        gradient_accumulation_steps=training.accumulation,
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
        logging_steps=_LOG_STEPS,
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


def _device() -> str:
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def _leave_inputs_in_half_precision(adapted: Any) -> None:
    """PEFT copies every layer's input to the adapter's float32, and autocast copies it back."""
    for module in adapted.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False


def _checkpoints_gradients(
    config: Any, training: LoraTraining, rows: Sequence[EncodedExample], device: str
) -> bool:
    if training.gradient_checkpointing != "auto":
        return training.gradient_checkpointing == "always"
    if device == "cpu":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return needs_checkpointing(config, training, [len(row.tokens) for row in rows], free=free)


def _prepare_trackers(names: Sequence[str], folder: Path) -> None:
    """Raise UsageError for a tracker that is not installed; TensorBoard's files lie in `folder`."""
    for name in names:
        if find_spec(name) is None:
            raise UsageError(f"training.report_to: {name} is not installed: pip install {name}")
    if "tensorboard" in names:
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(folder))


def _take(checkpoint: Path, folder: Path) -> None:
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


def _rows(history: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    names = {"step": "step", "loss": "loss", "eval_loss": "validation_loss"}
    rows = [{names[key]: row[key] for key in names if key in row} for row in history]
    return [row for row in rows if len(row) > 1]


def _tokens_after(steps: int, rows: Sequence[EncodedExample], trainer: Trainer) -> int:
    """Tokens of the examples that so many steps read, counted as whole epochs and a share."""
    arguments = trainer.args
    at_once: int = arguments.train_batch_size * arguments.gradient_accumulation_steps
    an_epoch: int = math.ceil(len(rows) / (at_once * arguments.world_size))
    return round(sum(len(row.tokens) for row in rows) * steps / an_epoch)
