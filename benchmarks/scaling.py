"""How work goes faster on several GPUs of one host: decoding, and the training of all that learns.

    python benchmarks/scaling.py --gpus 1 2 --out benchmarks/results/scaling-h100-x2.json
    python benchmarks/scaling.py --gpus 1 2 --tiny

Data are invented (invented.py), weights are random, sizes are real: the 35 M Llama of
configs/toys-scratch.yaml and Llama-3.2-1B decode with 20 beams inside the catalogue; the first is
trained from zero, as configured and once more without dropout; the second gets an adapter by the
recipe of configs/llama-3.2-1b-fast.yaml; a dual encoder of MiniLM's shape is trained without
dropout. Every number of GPUs does all of it under `torchrun` (on a CPU: processes by gloo), with
the same data and the same global batch.

Said for each: users or tokens a second after a warm-up, all GPUs together, and the efficiency,
which is that over what one GPU alone would give times their number. Lists must be equal, byte for
byte: how many files of them differ is said. Losses are the mean over the same steps; on a GPU
dropout draws other masks on another number of processes, so that only those without dropout are to
be equal. Work that fails or takes longer than `--limit` seconds leaves the rest: what follows is
started anew. Prints a line for each, and writes JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from transformers import AutoModelForCausalLM, BertConfig, BertModel, LlamaConfig, TrainerCallback

import invented
from decoding import SHAPES
from finetuning import TINY, recipes, samples
from gloss.config import Decoding, TableData
from gloss.data.dataset import Dataset
from gloss.data.generations import to_row
from gloss.decoding.open import open_generator
from gloss.experiment import stages
from gloss.experiment.loading import load_experiment
from gloss.language.bases import Base
from gloss.language.lora.adapt import adapt
from gloss.language.lora.adapters import load_tokenizer
from gloss.language.lora.trainer import make_trainer
from gloss.language.quiet import quiet_transformers
from gloss.language.scratch.tokenizer import train_tokenizer
from gloss.language.scratch.train import train_from_zero
from gloss.prompts import PAPER_TEMPLATE
from gloss.rankers.dual_encoder.ranker import SPEC as DUAL_ENCODER
from gloss.rankers.dual_encoder.settings import DualEncoderSettings
from gloss.rankers.sources import RankerSources
from gloss.training.processes import (
    is_first_process,
    join_processes,
    leave_processes,
    process_count,
    process_number,
    wait_for_all,
)
from machine import best_device, hardware, wait

CONFIG = Path(__file__).parents[1] / "configs" / "toys-scratch.yaml"
SCRATCH_35M = {
    "hidden_size": 512,
    "intermediate_size": 1344,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "vocab_size": 32000,
    "tie_word_embeddings": True,
}
MINILM = {
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
}
_WITHOUT_DROPOUT = ["training.dropout=0", "training.attention_dropout=0", "training.r_drop=0"]
_TINY_MODEL = ["model.vocabulary=800", "model.layers=1", "model.width=32", "model.heads=2"]
_WARM_UP = 10
"""Steps that are not timed: layers are compiled and graphs captured in them."""


@dataclass(frozen=True)
class Size:
    """How much of everything. users_35m, users_1b: who get lists; shard: users of a file."""

    purchases: int
    items: int
    users_35m: int
    users_1b: int
    shard: int
    samples: int
    batch_users: int
    llama_1b: dict[str, Any]
    llama_35m: dict[str, Any]
    scratch: list[str]


REAL = Size(
    purchases=400_000,
    items=12_000,
    users_35m=16_384,
    users_1b=8192,
    shard=1024,
    samples=1600,
    batch_users=512,
    llama_1b=SHAPES["llama-3.2-1b"],
    llama_35m=SCRATCH_35M,
    scratch=[],
)
SMALL = Size(
    purchases=2000,
    items=60,
    users_35m=24,
    users_1b=24,
    shard=4,
    samples=16 * (_WARM_UP + 2),
    batch_users=8,
    llama_1b=TINY,
    llama_35m=TINY,
    scratch=[*_TINY_MODEL, "model.context=256", "training.batch_tokens=512"],
)


def call_parser() -> argparse.ArgumentParser:
    """How the script is called."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 2], help="processes, each one's")
    parser.add_argument("--work", nargs="*", default=None, choices=WORK, help="not all of it")
    parser.add_argument("--tiny", action="store_true", help="sizes for a CPU: to try the script")
    parser.add_argument("--limit", type=int, default=240, help="seconds for one number of GPUs")
    parser.add_argument("--folder", type=Path, default=None, help="where inputs are made")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--as-worker", action="store_true", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Make the inputs, start the processes for each number of GPUs, compare."""
    args = call_parser().parse_args()
    size = SMALL if args.tiny else REAL
    work = args.work or list(WORK)
    if args.as_worker:
        _work(args.folder, size, work)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as made:
        folder = Path(made)
        started = time.perf_counter()
        with quiet_transformers():
            make_inputs(folder, size)
        print(f"inputs made in {time.perf_counter() - started:.0f} s", flush=True)
        rows: dict[int, dict[str, dict[str, Any]]] = {}
        for count in args.gpus:
            rows[count] = _started(folder, count, work, tiny=args.tiny, limit=args.limit)
            _write(args.out, report(rows, size))
    print(json.dumps(report(rows, size), indent=1))


def _write(out: Path | None, text: dict[str, Any]) -> None:
    if out:
        out.write_text(json.dumps(text, indent=1) + "\n")


def _started(
    folder: Path, count: int, work: Sequence[str], *, tiny: bool, limit: int
) -> dict[str, dict[str, Any]]:
    """All the work on so many GPUs; what fails is left out, and what follows is started again."""
    rows: dict[str, dict[str, Any]] = {}
    while left := [name for name in work if name not in rows]:
        file = _results(folder, count)
        file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", str(count), __file__, "--as-worker"]
        command += ["--folder", str(folder), "--work", *left, *(["--tiny"] if tiny else [])]
        reason = _run(command, limit)
        lines = file.read_text().splitlines() if file.is_file() else []
        rows |= {row.pop("work"): row for row in map(json.loads, lines)}
        if reason and (failed := next((name for name in left if name not in rows), None)):
            rows[failed] = {"failed": reason}
            print(f"{count} x {failed}: {reason}", flush=True)
    return rows


def _run(command: Sequence[str], limit: int) -> str | None:
    """Why it failed, if it did."""
    with subprocess.Popen(command) as process:
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            process.terminate()  # torchrun ends its processes, after 30 seconds by force
            return f"more than {limit} s"
    return f"exit code {code}" if code else None


def report(rows: dict[int, dict[str, dict[str, Any]]], size: Size) -> dict[str, Any]:
    """All figures, with each number of GPUs compared with one."""
    (base_count, *_) = rows
    for count, of_count in rows.items():
        for name, row in of_count.items():
            base = rows[base_count].get(name, {})
            if "a second" in row and "a second" in base:
                ideal = base["a second"] * count / base_count
                row["efficiency"] = round(row["a second"] / ideal, 3)
            if "loss" in row and "loss" in base:
                row["loss differs by"] = round(abs(row["loss"] - base["loss"]), 6)
            if "files" in row and "files" in base:
                pairs = zip(row["files"], base["files"], strict=True)
                row["files that differ"] = sum(one != other for one, other in pairs)
    shown = {
        count: {
            name: {key: value for key, value in row.items() if key != "files"}
            for name, row in of_count.items()
        }
        for count, of_count in rows.items()
    }
    return {
        "machine": hardware(),
        "torch": torch.__version__,
        "NCCL_NVLS_ENABLE": os.environ.get("NCCL_NVLS_ENABLE"),
        "purchases": size.purchases,
        "items": size.items,
        "processes": shown,
    }


def make_inputs(folder: Path, size: Size) -> None:
    """A data set, two Llamas and an encoder with random weights."""
    data = _make_data(folder, size)
    titles = data.catalogue("paper").titles
    _make_llama(folder / "llama-35m", titles, size.llama_35m)
    _make_llama(folder / "llama-1b", titles, size.llama_1b)
    _make_encoder(folder / "encoder", titles)


def _make_data(folder: Path, size: Size) -> Dataset:
    log, items = folder / "log.parquet", folder / "items.parquet"
    pl.concat(invented.purchases(size.purchases, size.items)).write_parquet(log)
    names = [f"i{number}" for number in range(size.items)]
    titles = invented.titles(size.items)
    pl.DataFrame({"item": names, "title": titles}).write_parquet(items)
    table = TableData(source="table", interactions=[str(log)], items=[str(items)], split="paper")
    stages.prepare(table, folder / "data")
    return Dataset.load(folder / "data")


def _tokenizer(titles: Sequence[str]) -> Any:
    instruction = [PAPER_TEMPLATE.header, PAPER_TEMPLATE.footer, PAPER_TEMPLATE.item] * 50
    return train_tokenizer([*titles, *instruction], vocabulary=1300)


def _make_llama(folder: Path, titles: Sequence[str], shape: dict[str, Any]) -> None:
    tokenizer = _tokenizer(titles)
    end = int(tokenizer.eos_token_id)
    config = LlamaConfig(**shape, max_position_embeddings=2048, bos_token_id=end, eos_token_id=end)
    torch.manual_seed(0)
    with torch.device(best_device()):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _make_encoder(folder: Path, titles: Sequence[str]) -> None:
    """A sentence-transformers folder as that of all-MiniLM-L6-v2, without dropout."""
    tokenizer = _tokenizer(titles)
    tokenizer.pad_token = tokenizer.eos_token
    config = BertConfig(
        **MINILM,
        vocab_size=30522,
        pad_token_id=int(tokenizer.pad_token_id),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    kinds = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (kind, path) in enumerate(kinds.items())
    ]
    pooling = {"word_embedding_dimension": MINILM["hidden_size"], "pooling_mode_mean_tokens": True}
    files = {
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": 256, "do_lower_case": False},
        "1_Pooling/config.json": pooling,
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    (folder / "2_Normalize").mkdir()


def _results(folder: Path, count: int) -> Path:
    return folder / f"rows-{count}.jsonl"


def _work(folder: Path, size: Size, work: Sequence[str]) -> None:
    """One process of several: all the work, one after the other; the first notes the figures."""
    join_processes()
    for name in work:
        row = WORK[name](folder, size)
        if is_first_process():
            shown = {key: value for key, value in row.items() if key != "files"}
            print(f"{process_count()} x {name}: {json.dumps(shown)}", flush=True)
            with _results(folder, process_count()).open("a") as file:
                file.write(json.dumps({"work": name, **row}) + "\n")
        wait_for_all()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    leave_processes()


def _decode(model: str, users: int, folder: Path, size: Size) -> dict[str, Any]:
    """Lists of the first users, in files that the processes share out as `gloss generate` does."""
    data = Dataset.load(folder / "data")
    catalogue = data.catalogue("paper")
    generator = open_generator(folder / model, Decoding(beams=20), catalogue)
    examples = data.examples("test", limit=users)
    prompts = generator.prompt_builder().build_all(examples, catalogue)
    longest = sorted(prompts, key=lambda prompt: len(prompt.text))[-16:]
    generator.generate(longest)
    shards = [prompts[first : first + size.shard] for first in range(0, len(prompts), size.shard)]
    wait_for_all()
    started = time.perf_counter()
    own = {
        number: generator.generate(shards[number])
        for number in range(process_number(), len(shards), process_count())
    }
    wait_for_all()
    seconds = time.perf_counter() - started
    for number, generations in own.items():
        rows = json.dumps([to_row(generation) for generation in generations])
        digest = hashlib.sha256(rows.encode()).hexdigest()
        (folder / f"{model}-{process_count()}-{number}").write_text(digest)
    wait_for_all()
    files = [
        (folder / f"{model}-{process_count()}-{number}").read_text()
        for number in range(len(shards))
    ]
    rate = len(prompts) / seconds
    return {"a second": round(rate, 1), "of": "users", "seconds": round(seconds, 2), "files": files}


def _train_from_zero(changes: Sequence[str], folder: Path, size: Size) -> dict[str, Any]:
    once = ["training.epochs=1", "training.validation_users=0", "model.networks=1"]
    experiment = load_experiment(CONFIG, [*once, *size.scratch, *changes])
    clock = _Clock()
    _, record = train_from_zero(
        Dataset.load(folder / "data"),
        titles="fair",
        model=experiment.model,  # type: ignore[arg-type]
        training=experiment.training,  # type: ignore[arg-type]
        seed=0,
        checkpoint=folder / f"scratch-{process_count()}-{len(changes)}.pt",
        progress=clock,
    )
    rate = clock.share * record.units / clock.seconds
    return {
        "a second": round(rate),
        "of": "tokens",
        "steps": record.steps,
        "loss": record.losses[-1]["loss"],
    }


def _train_dual_encoder(folder: Path, size: Size) -> dict[str, Any]:
    data = Dataset.load(folder / "data")
    settings = DualEncoderSettings(epochs=1, batch_users=size.batch_users, residual_dropout=0.0)
    clock = _Clock()
    made = stages.train_ranker(
        DUAL_ENCODER,
        RankerSources(data, "fair", encoder=str(folder / "encoder")),
        folder / f"dual-encoder-{process_count()}",
        settings=settings,
        seed=0,
        progress=clock,
    )
    rate = clock.share * made.summary["histories"] / clock.seconds
    return {
        "a second": round(rate, 1),
        "of": "users",
        "steps": clock.steps,
        "loss": made.summary["loss"],
    }


def _train_adapter(folder: Path, size: Size) -> dict[str, Any]:
    base = folder / "llama-1b"
    rows, _ = samples(folder / "data", base, size.samples)
    model, training, _ = recipes("llama-3.2-1b", [])["ours"]
    adapted = adapt(Base(base, base.name), model, training, rows, seed=0)
    trainer = make_trainer(
        adapted,
        rows,
        (),
        training,
        pad=int(load_tokenizer(base).pad_token_id),
        seed=0,
        folder=folder / f"adapter-{process_count()}",
    )
    clock = _Clock()
    trainer.add_callback(_OfTrainer(clock))
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    rate = clock.share * sum(len(row.tokens) for row in rows) / clock.seconds
    return {
        "a second": round(rate),
        "of": "tokens",
        "steps": clock.steps,
        "loss": float(np.mean(losses)),
    }


class _Clock:
    """Progress that measures from the end of the warm-up to the last step."""

    def __init__(self) -> None:
        self.started, self.seconds, self.steps = 0.0, 0.0, 0

    def __call__(self, done: int, total: int | None, _note: str = "", /) -> None:
        if done == _WARM_UP:
            wait(best_device())
            self.started = time.perf_counter()
        if done == total:
            wait(best_device())
            self.steps, self.seconds = done, time.perf_counter() - self.started

    @property
    def share(self) -> float:
        """Of all steps, those that were timed."""
        return (self.steps - _WARM_UP) / self.steps


class _OfTrainer(TrainerCallback):
    """Tells the clock of the Trainer's steps."""

    def __init__(self, clock: _Clock) -> None:
        self._clock = clock

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._clock(state.global_step, state.max_steps)


WORK: dict[str, Callable[[Path, Size], dict[str, Any]]] = {
    "decode-35m": lambda folder, size: _decode("llama-35m", size.users_35m, folder, size),
    "decode-1b": lambda folder, size: _decode("llama-1b", size.users_1b, folder, size),
    "scratch-35m": lambda folder, size: _train_from_zero([], folder, size),
    "scratch-35m-without-dropout": lambda folder, size: _train_from_zero(
        _WITHOUT_DROPOUT, folder, size
    ),
    "dual-encoder": _train_dual_encoder,
    "lora-1b": _train_adapter,
}


if __name__ == "__main__":
    main()
