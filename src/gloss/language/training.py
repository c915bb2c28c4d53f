"""The training loop: next-token cross-entropy on documents, in batches of a bounded token count.

The randomness of a step is a function of the seed and the step alone (order, augmentation,
dropout), so a run that was killed and resumed ends with the same bits as one that was not.

Knows token sequences; knows no titles, no users, no files but its checkpoint.
"""

from __future__ import annotations

import math
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gloss.config import Training
from gloss.progress import Progress, silent

__all__ = ["Epoch", "TrainingRecord", "stack", "train"]

_CHECKPOINT_SECONDS = 60.0

Epoch = Callable[[int], list[np.ndarray]]
"""The documents of an epoch, a pure function of its number."""


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What a run went through. losses: one row an epoch; tokens: how many were trained on."""

    losses: tuple[dict[str, float], ...]
    steps: int
    tokens: int


def train(
    model: nn.Module,
    documents: Epoch,
    settings: Training,
    *,
    seed: int,
    pad: int,
    checkpoint: Path,
    validate: Callable[[nn.Module], float] | None = None,
    progress: Progress = silent,
) -> TrainingRecord:
    """Train the model in place for `settings.epochs` passes, from the checkpoint if there is one.

    `validate` gives a loss after each epoch. The checkpoint is rewritten every minute and after
    each epoch; removing it is the caller's. Losses are in nats a token.
    """
    plan = [_batches(documents(epoch), settings, seed, epoch) for epoch in range(settings.epochs)]
    total = sum(map(len, plan))
    optimizer = _optimizer(model, settings)
    state = _resume(checkpoint, model, optimizer)
    clock = _Clock(progress, total)
    saved_at = time.monotonic()
    step = 0
    with _dropout(model, settings.dropout):
        for epoch, batches in enumerate(plan):
            for batch in batches:
                step += 1
                if step <= state.step:
                    continue
                torch.manual_seed(seed * 1_000_003 + step)
                loss, tokens = _step(model, optimizer, batch, settings, step, total, pad)
                state.add(step, loss, tokens)
                clock.tick(step, tokens, loss)
                if time.monotonic() - saved_at > _CHECKPOINT_SECONDS:
                    _save(checkpoint, model, optimizer, state)
                    saved_at = time.monotonic()
            if len(state.losses) <= epoch:
                state.close_epoch(validate(model) if validate else math.nan)
                _save(checkpoint, model, optimizer, state)
    return TrainingRecord(tuple(state.losses), step, state.tokens)


@dataclass(slots=True)
class _State:
    """What a checkpoint remembers besides the weights."""

    step: int
    tokens: int
    loss_sum: float
    loss_steps: int
    losses: list[dict[str, float]]

    def add(self, step: int, loss: float, tokens: int) -> None:
        self.step = step
        self.tokens += tokens
        self.loss_sum += loss
        self.loss_steps += 1

    def close_epoch(self, validation: float) -> None:
        row = {"step": self.step, "loss": self.loss_sum / max(1, self.loss_steps)}
        if not math.isnan(validation):
            row["validation_loss"] = validation
        self.losses.append(row)
        self.loss_sum, self.loss_steps = 0.0, 0


class _Clock:
    """Turns steps into progress with the loss and the speed."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total = progress, total
        self.started, self.tokens = time.monotonic(), 0

    def tick(self, step: int, tokens: int, loss: float) -> None:
        self.tokens += tokens
        speed = self.tokens / max(1e-9, time.monotonic() - self.started)
        self.progress(step, self.total, f"loss {loss:.3f}, {speed:,.0f} tokens/s")


def _batches(
    documents: Sequence[np.ndarray], settings: Training, seed: int, epoch: int
) -> list[list[np.ndarray]]:
    """Documents of similar length together, each batch within the token budget, in random order."""
    rng = np.random.default_rng((seed, epoch, 1))
    lengths = np.array([len(document) for document in documents])
    # A little noise in the order of lengths keeps neighbours from always meeting.
    order = np.argsort(lengths * rng.uniform(0.95, 1.05, len(lengths)), kind="stable")
    batches: list[list[np.ndarray]] = []
    batch: list[np.ndarray] = []
    longest = 0
    for place in order:
        longest = max(longest, int(lengths[place]))
        if batch and longest * (len(batch) + 1) > settings.batch_tokens:
            batches.append(batch)
            batch, longest = [], int(lengths[place])
        batch.append(documents[place])
    if batch:
        batches.append(batch)
    return [batches[place] for place in rng.permutation(len(batches))]


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: list[np.ndarray],
    settings: Training,
    step: int,
    total: int,
    pad: int,
) -> tuple[float, int]:
    device = next(model.parameters()).device
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * _schedule(step, total, settings.warmup_steps)
    tokens, real = stack(batch, pad, device)
    with _autocast(device):
        loss = _loss(model, tokens, real)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach()), int(real.sum())


def _loss(model: nn.Module, tokens: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over every real token after the first. Rows are padded on the right."""
    hidden = model.get_submodule("model")(input_ids=tokens[:, :-1]).last_hidden_state
    wanted = real[:, 1:]
    logits = model.get_submodule("lm_head")(hidden[wanted])
    return nn.functional.cross_entropy(logits.float(), tokens[:, 1:][wanted])


def _schedule(step: int, total: int, warmup: int) -> float:
    """Linear warm-up, then linear decay to zero; steps count from one."""
    if step <= warmup:
        return step / warmup
    return (total - step) / max(1, total - warmup)


def _optimizer(model: nn.Module, settings: Training) -> torch.optim.Optimizer:
    """AdamW; matrices decay, norms do not."""
    weights = [p for p in model.parameters() if p.dim() >= 2]
    norms = [p for p in model.parameters() if p.dim() < 2]
    groups = [
        {"params": weights, "weight_decay": settings.weight_decay},
        {"params": norms, "weight_decay": 0.0},
    ]
    fused = next(model.parameters()).is_cuda
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98), fused=fused)


def stack(
    batch: list[np.ndarray], pad: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """(documents, longest) token ids padded on the right, and the mask of real ones."""
    longest = max(map(len, batch))
    tokens = np.full((len(batch), longest), pad, np.int64)
    real = np.zeros((len(batch), longest), bool)
    for row, document in enumerate(batch):
        tokens[row, : len(document)] = document
        real[row, : len(document)] = True
    return torch.from_numpy(tokens).to(device), torch.from_numpy(real).to(device)


def _autocast(device: torch.device) -> AbstractContextManager[Any]:
    # bf16 is emulated on most CPUs, tens of times slower than fp32.
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


@contextmanager
def _dropout(model: nn.Module, share: float) -> Iterator[None]:
    """Training mode, with dropout after the embedding and after every attention and MLP block.

    Llama has dropout in its attention weights only; hooks add the rest and leave the model as it
    was, so that what is saved is an ordinary Llama.
    """
    decoder = model.get_submodule("model")
    places = [decoder.get_submodule("embed_tokens")]
    for layer in decoder.get_submodule("layers").children():
        places += [layer.get_submodule("self_attn"), layer.get_submodule("mlp")]

    def drop(module: nn.Module, _inputs: Any, output: Any) -> Any:
        if not module.training:
            return output
        if isinstance(output, tuple):
            return (nn.functional.dropout(output[0], share), *output[1:])
        return nn.functional.dropout(output, share)

    hooks = [place.register_forward_hook(drop) for place in places if share]
    model.train()
    try:
        yield
    finally:
        model.eval()
        for hook in hooks:
            hook.remove()


def _save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: _State) -> None:
    draft = path.with_suffix(".tmp")
    rest = {
        "step": state.step,
        "tokens": state.tokens,
        "loss_sum": state.loss_sum,
        "loss_steps": state.loss_steps,
        "losses": state.losses,
    }
    whole = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), **rest}
    # Through a file of Python's: torch's own writer does not say why it failed.
    with draft.open("wb") as file:
        torch.save(whole, file)
    draft.replace(path)


def _resume(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> _State:
    """Load the checkpoint if it is there and readable; a damaged one is as good as none."""
    try:
        with zipfile.ZipFile(path) as archive:
            whole = archive.testzip() is None
        saved = torch.load(path, weights_only=True, map_location="cpu") if whole else None
    except Exception:  # what a damaged file raises depends on where it is damaged
        saved = None
    if saved is None:
        return _State(0, 0, 0.0, 0, [])
    model.load_state_dict(saved.pop("model"))
    optimizer.load_state_dict(saved.pop("optimizer"))
    return _State(**saved)
