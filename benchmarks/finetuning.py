"""How fast adapters are trained: the published recipe, ours, and what the card could do.

    python benchmarks/finetuning.py --data data/toys --shape llama-3.2-1b --folder bases
    python benchmarks/finetuning.py --data data/shop --shape tiny --samples 128 --folder bases

Random weights of the real shapes with a tokenizer of this catalogue (made once, in `--folder`; with
`--make-only` nothing else is done), real histories, and the recipes of configs/: as published
(4 x 4 padded, NF4, gradient checkpointing, loss on all tokens), ours, and ours with that loss. All
train on the same samples in the same order of steps, 16 a step, in one process one after the
other. Said for each: real tokens a second (padding does not count), peak memory, and the loss on
the answers of the same validation users afterwards, in nats a token.

The limit counts the matrix products that LoRA cannot do without (forward, and backward to the
activations; attention inside each sample; the output head where that recipe asks for a loss), at
the rate of a large matrix product measured in the same run. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, TrainerCallback

from decoding import SHAPES
from gloss.choices import Backend
from gloss.config import LoraModel, LoraTraining
from gloss.data.dataset import Dataset
from gloss.experiment.loading import load_experiment
from gloss.experiment.settings import Experiment
from gloss.language.bases import Base
from gloss.language.examples import EncodedExample, encode, examples_of
from gloss.language.lora.adapt import adapt
from gloss.language.lora.adapters import load_tokenizer
from gloss.language.lora.trainer import ExampleDataset, collator_of, make_trainer
from gloss.language.scratch.tokenizer import train_tokenizer
from gloss.prompts import PAPER_TEMPLATE
from machine import best_device, hardware, matrix_rate, wait

CONFIGS = Path(__file__).parents[1] / "configs"
TINY: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1300,
    "tie_word_embeddings": True,
}
LLAMAS = {name: shape for name, shape in SHAPES.items() if name.startswith("llama")} | {
    "tiny": TINY
}
A_STEP = 16
VALIDATED = 256


def call_parser() -> argparse.ArgumentParser:
    """How the script is called."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--shape", choices=LLAMAS, default="llama-3.2-1b")
    parser.add_argument("--folder", type=Path, default=Path("bases"), help="for random models")
    parser.add_argument("--make-only", action="store_true", help="make the random model, stop")
    parser.add_argument("--samples", type=int, default=1600, help="for each recipe")
    parser.add_argument("--warm-up", type=int, default=5, help="steps that are not timed")
    parser.add_argument("--recipes", nargs="*", default=None, help="names, for fewer than all")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="ours, changed")
    parser.add_argument("--out", type=Path, default=None)
    return parser


def main() -> None:
    """Parse, measure, print, write."""
    parser = call_parser()
    args = parser.parse_args()
    if args.samples <= args.warm_up * A_STEP:
        parser.error(f"--samples: {args.warm_up} steps of {A_STEP} are not timed; take more")
    base = make_base(args.shape, args.data, args.folder)
    if args.make_only:
        print(base)
        return
    train, validation = samples(args.data, base, args.samples)
    chosen = {
        name: recipe
        for name, recipe in recipes(args.shape, args.set).items()
        if args.recipes is None or name in args.recipes
    }
    rows = {}
    for name, (model, training, backend) in chosen.items():
        rows[name] = measured(base, model, training, backend, train, validation, args.warm_up)
        print(name, json.dumps(rows[name]), flush=True)
    report = summary(args.shape, train, rows)
    print(json.dumps(report, indent=1))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


def make_base(shape: str, data: Path, folder: Path) -> Path:
    """A Llama of a real shape with random weights, and a tokenizer that gives about as many tokens
    as Llama's own; made once."""
    made = folder / shape
    if (made / "config.json").is_file():
        return made
    titles = Dataset.load(data).catalogue("paper").titles
    instruction = [PAPER_TEMPLATE.header, PAPER_TEMPLATE.footer, PAPER_TEMPLATE.item] * 50
    tokenizer = train_tokenizer([*titles, *instruction], vocabulary=1300)
    end = int(tokenizer.eos_token_id)
    config = LlamaConfig(
        **LLAMAS[shape], max_position_embeddings=131072, bos_token_id=end, eos_token_id=end
    )
    torch.manual_seed(0)
    with torch.device(best_device()):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    draft = made.with_name(f".{made.name}.partial")
    model.save_pretrained(draft)
    tokenizer.save_pretrained(draft)
    draft.rename(made)
    return made


Rows = tuple[EncodedExample, ...]
Recipe = tuple[LoraModel, LoraTraining, Backend]


def samples(data: Path, base: Path, count: int) -> tuple[Rows, Rows]:
    """That many training samples, evenly spread over the users, and validation samples."""
    dataset, tokenizer = Dataset.load(data), load_tokenizer(base)
    catalogue = dataset.catalogue("paper")
    questions = examples_of(dataset.train())
    chosen = [questions[place * len(questions) // count] for place in range(count)]
    asked = dataset.examples("validation", limit=VALIDATED)
    train, validation = (
        encode(each, catalogue, tokenizer, PAPER_TEMPLATE, sequence=1024).rows
        for each in (chosen, asked)
    )
    return train, validation


def recipes(shape: str, changes: Sequence[str]) -> dict[str, Recipe]:
    """Those of configs/, for one epoch."""
    size = shape if shape != "tiny" else "llama-3.2-1b"
    ours = [f"training.{change}" if "." not in change else change for change in changes]
    published = _read(f"{size}.yaml", [])
    fast = _read(f"{size}-fast.yaml", ours)
    everywhere = _read(f"{size}-fast.yaml", [*ours, "training.loss_on=all"])
    return {
        "published": published,
        "ours": fast,
        "ours, loss on all tokens": everywhere,
        "published, by unsloth": (*published[:2], "unsloth"),
    }


def _read(name: str, changes: Sequence[str]) -> Recipe:
    once = ["training.epochs=1", "training.validation_users=0", *changes]
    experiment: Experiment = load_experiment(CONFIGS / name, once)
    assert isinstance(experiment.model, LoraModel)
    assert isinstance(experiment.training, LoraTraining)
    assert experiment.training.batch * experiment.training.accumulation == A_STEP
    return experiment.model, experiment.training, "transformers"


def measured(
    base: Path,
    model: LoraModel,
    training: LoraTraining,
    backend: Backend,
    train: Rows,
    validation: Rows,
    warm_up: int,
) -> dict[str, Any]:
    """One recipe: trained on the samples, timed after a warm-up, validated."""
    _tidy()
    folder = Path(tempfile.mkdtemp())
    pad = int(load_tokenizer(base).pad_token_id)
    try:
        adapted = adapt(Base(base, base.name), model, training, train, seed=0, backend=backend)
    except Exception as error:  # one recipe that cannot run here leaves the others
        return {"failed": str(error).strip().split("\n")[0]}
    trainer = make_trainer(adapted, train, (), training, pad=pad, seed=0, folder=folder)
    clock = _Clock(warm_up)
    trainer.add_callback(clock)
    try:
        trainer.train()
        trainer.data_collator = collator_of(adapted, training, "completion", pad=pad)
        loss = trainer.evaluate(ExampleDataset(validation))["eval_loss"]
    except torch.cuda.OutOfMemoryError:
        return {"failed": "out of memory"}
    finally:
        shutil.rmtree(folder)
    work = useful_work(adapted.model.config, train, training)
    share = (clock.steps - warm_up) / clock.steps
    return {
        "tokens/s": round(share * sum(len(row.tokens) for row in train) / clock.seconds, 1),
        "TFLOP/s": share * work / clock.seconds / 1e12,
        "peak GiB": round(_peak() / 2**30, 2),
        "loss of answers": loss,
        "first losses": [row["loss"] for row in trainer.state.log_history if "loss" in row][:3],
        "steps": clock.steps,
    }


class _Clock(TrainerCallback):
    """The time between the end of the warm-up and the last step."""

    def __init__(self, warm_up: int) -> None:
        self.warm_up, self.steps, self.started, self.seconds = warm_up, 0, 0.0, 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.warm_up:
            wait(best_device())
            self.started = time.perf_counter()
        if state.global_step == state.max_steps:
            wait(best_device())
            self.steps = state.global_step
            self.seconds = time.perf_counter() - self.started


def useful_work(config: Any, rows: Rows, training: LoraTraining) -> float:
    """Operations that training an adapter on these samples takes at least.

    Two a weight and token forward, two backward to the activations; none for the frozen weights.
    Attention forward takes 2 x length^2 x width a layer when causal, backward twice that.
    """
    heads, keys = config.num_attention_heads, config.num_key_value_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    width, mlp, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    layer = width * head * (2 * heads + 2 * keys) + 3 * width * mlp
    lengths = np.array([len(row.tokens) for row in rows], float)
    answers = np.array([row.answer for row in rows], float)
    asked = lengths - 1 if training.loss_on == "all" else answers
    return float(
        4 * layers * layer * lengths.sum()
        + 4 * config.vocab_size * width * asked.sum()
        + 6 * layers * heads * head * (lengths**2).sum()
    )


def summary(shape: str, train: Rows, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What is printed and written; shares are of the rate of a large matrix product."""
    rate = matrix_rate(best_device()) / 1e12
    for row in rows.values():
        if "TFLOP/s" in row:
            row["share of the limit"] = round(row["TFLOP/s"] / rate, 4)
            row["TFLOP/s"] = round(row["TFLOP/s"], 3)
    published = rows.get("published", {})
    return {
        "machine": hardware(),
        "torch": torch.__version__,
        "shape": shape,
        "samples": len(train),
        "mean tokens a sample": round(sum(len(row.tokens) for row in train) / len(train), 1),
        "matrix product, TFLOP/s": round(rate, 3),
        "recipes": rows,
        "over the published": {
            name: {
                "speed": round(row["tokens/s"] / published["tokens/s"], 2),
                "loss": round(row["loss of answers"] / published["loss of answers"], 4),
            }
            for name, row in rows.items()
            if "tokens/s" in row and "tokens/s" in published and name != "published"
        },
    }


def _cuda() -> bool:
    return torch.cuda.is_available()


def _tidy() -> None:
    gc.collect()
    if _cuda():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak() -> int:
    """The largest amount of GPU memory held at once; on a CPU not known."""
    return torch.cuda.max_memory_allocated() if _cuda() else 0


if __name__ == "__main__":
    main()
