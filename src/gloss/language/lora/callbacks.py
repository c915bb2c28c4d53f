"""Callbacks of transformers' Trainer: checkpoints, early stopping, progress."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from gloss.config import LoraTraining
from gloss.errors import InputError
from gloss.language.lora import checkpoints
from gloss.language.quiet import quiet_transformers
from gloss.progress import Progress
from gloss.training.processes import wait_for_all

with quiet_transformers():
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

__all__ = ["LOG_STEPS", "EarlyStopping", "RefuseDivergence", "ReportProgress", "SaveCheckpoints"]

LOG_STEPS = 10
"""Steps between two rows of the loss curve."""

_CHECKPOINT_SECONDS = 300.0


class SaveCheckpoints(TrainerCallback):
    """Saves inside long epochs too, marks what is whole, and removes what is no longer needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._saved_at = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        # Only where the loss is logged too, so that the curve does not tell when it was saved.
        is_late = time.monotonic() - self._saved_at > _CHECKPOINT_SECONDS
        if is_late and state.global_step % LOG_STEPS == 0 and args.world_size == 1:
            control.should_save = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        control.should_log = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._saved_at = time.monotonic()
        wait_for_all()
        if state.is_world_process_zero:
            checkpoints.mark(checkpoints.checkpoint_of(self._folder, state.global_step))
            best = checkpoints.best_step(state.log_history)
            kept = [state.global_step, *([best] if best is not None else [])]
            checkpoints.keep_only(self._folder, kept)


class RefuseDivergence(TrainerCallback):
    """Raises InputError at the first loss that is infinite or no number."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        for name in ("loss", "eval_loss"):
            if not math.isfinite((logs or {}).get(name, 0.0)):
                raise InputError(
                    f"training has diverged: the loss is {(logs or {})[name]} after step "
                    f"{state.global_step:,}; take a lower learning rate"
                )


class EarlyStopping(TrainerCallback):
    """Stops when the validation loss has not been the best for `patience` epochs.

    The Trainer's own forgets that it has stopped when it is killed between that and its end.
    """

    def __init__(self, training: LoraTraining) -> None:
        self._training = training

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        patience, epochs = self._training.patience, self._training.epochs
        if checkpoints.is_done(state.log_history, patience=patience, epochs=epochs):
            control.should_training_stop = True


class ReportProgress(TrainerCallback):
    """Turns steps into progress, with the loss and the speed. tokens: of an example, on average."""

    def __init__(self, progress: Progress, tokens: float) -> None:
        self._progress, self._tokens = progress, tokens
        self._started, self._first_step = 0.0, 0

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if not self._started:
            self._started, self._first_step = time.monotonic(), state.global_step

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        examples = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        seconds = max(1e-9, time.monotonic() - self._started)
        speed = (state.global_step - self._first_step) * examples * self._tokens / seconds
        last = next((row["loss"] for row in reversed(state.log_history) if "loss" in row), None)
        loss = f"loss {last:.3f}, " if last is not None else ""
        self._progress(state.global_step, state.max_steps, f"{loss}about {speed:,.0f} tokens/s")
