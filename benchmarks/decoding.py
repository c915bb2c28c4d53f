"""How fast beam search is: ours beside `generate`, and beside what the card could do.

    python benchmarks/decoding.py --data data/toys --shape llama-3.2-1b
    python benchmarks/decoding.py --data data/toys --shape small --device cpu

Random weights of the real shapes, the published prompt on real histories, and a forced length, so
that everybody does the same work: 5 beams, 50 new tokens for each. Peers run in the same process on
the same weights: `generate` exactly as the published script calls it (batches of 8, `empty_cache`
and `gc.collect` after each), `generate` at its best batch size, and on a CPU CTranslate2.

The limit counts the matrix products only: every prompt token once, every beam's token once, the
output head where a next token is chosen, at the rate of a large matrix product measured in the same
run. On a CPU everybody takes turns, several rounds, and processor seconds are counted too: they say
more where others use the machine at the same time. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from gloss.data.dataset import Dataset
from gloss.data.histories import UserId
from gloss.decoding.beams import BeamSettings
from gloss.decoding.choose_search import choose_search
from gloss.language.scratch.tokenizer import train_tokenizer
from gloss.prompts import PAPER_TEMPLATE, PromptBuilder
from machine import matrix_rate, processor, seconds_of, wait

BEAMS, NEW_TOKENS, MOST_PROMPT = 5, 50, 974

SHAPES: dict[str, dict[str, Any]] = {
    "llama-3.2-1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "vocab_size": 128256,
        "tie_word_embeddings": True,
    },
    "llama-3.2-3b": {
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 28,
        "num_attention_heads": 24,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 128256,
        "tie_word_embeddings": True,
    },
    "llama-3.1-8b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 128256,
        "tie_word_embeddings": False,
    },
    "small": {
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "vocab_size": 8000,
        "tie_word_embeddings": True,
    },
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "vocab_size": 1300,
        "tie_word_embeddings": True,
    },
}


def call_parser() -> argparse.ArgumentParser:
    """How the script is called."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--shape", choices=SHAPES, default="llama-3.2-1b")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--users", type=int, default=2048, help="users for ours")
    parser.add_argument("--peer-users", type=int, default=64, help="users for generate")
    parser.add_argument("--peer-batches", type=int, nargs="*", default=[64, 128])
    parser.add_argument("--entries", type=int, default=None, help="cache entries of ours")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each on a CPU")
    return parser


def main() -> None:
    """Parse, measure, print, write."""
    args = call_parser().parse_args()
    model = random_model(args.shape, args.device)
    prompts, _ = published_prompts(*histories_of(args.data, args.users))
    if args.device == "cpu":
        rows = _on_a_cpu(args, model, prompts)
    else:
        rows = _on_a_gpu(args, model, prompts)
    report = _report(args, model, prompts, rows)
    print(json.dumps(report, indent=1))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


Run = Callable[[Sequence[Sequence[int]]], None]


@dataclass(frozen=True)
class Rate:
    """users: a second; cpu: processor seconds a user, of all threads; None on a GPU."""

    users: float
    cpu: float | None = None


def _on_a_gpu(args: argparse.Namespace, model: Any, prompts: list[list[int]]) -> dict[str, Rate]:
    """One after the other: the device is ours alone."""
    rows = {"ours": _rate(_ours(model, args.entries), prompts, args.device)}
    few = _spread(prompts, args.peer_users)
    rows["generate, published loop"] = _rate(_generate(model, 8, tidy=True), few, args.device)
    for batch in args.peer_batches:
        enough = _spread(prompts, max(batch, args.peer_users))
        try:
            rows[f"generate, batch {batch}"] = _rate(
                _generate(model, batch, tidy=False), enough, args.device
            )
        except torch.cuda.OutOfMemoryError:
            print(f"generate, batch {batch}: out of memory")
    return rows


def _on_a_cpu(args: argparse.Namespace, model: Any, prompts: list[list[int]]) -> dict[str, Rate]:
    """In turns, several rounds, medians: others may use the machine at the same time.

    Everybody gets the same prompts, one of them beforehand to warm up.
    """
    few = _spread(prompts, args.peer_users)
    translator = _Translator(model)
    runs = {"ours": _ours(model, args.entries)}
    runs["generate, published loop"] = _generate(model, 8, tidy=True)
    for batch in args.peer_batches:
        runs[f"generate, batch {batch}"] = _generate(model, batch, tidy=False)
        runs[f"CTranslate2, batch {batch}"] = partial(translator.run, batch=batch, prefix=0)
        # It can keep what all prompts begin with, as ours does.
        runs[f"CTranslate2, batch {batch}, prefix kept"] = partial(
            translator.run, batch=batch, prefix=_common(prompts)
        )
    measured: dict[str, list[Rate]] = {name: [] for name in runs}
    for number in range(args.rounds):
        for name, run in runs.items():
            if not number:
                run(few[:1])
            measured[name].append(_timed(run, few, args.device))
            print(number, name, measured[name][-1], flush=True)
    return {
        name: Rate(
            statistics.median(rate.users for rate in rates),
            statistics.median(rate.cpu or 0.0 for rate in rates),
        )
        for name, rates in measured.items()
    }


def _common(prompts: list[list[int]]) -> int:
    shortest = min(map(len, prompts)) - 1
    return next(n for n in range(shortest, -1, -1) if len({tuple(p[:n]) for p in prompts}) == 1)


def random_model(shape: str, device: str) -> Any:
    """A Llama of a known shape with random weights: bf16 on a GPU, fp32 on a CPU."""
    config = LlamaConfig(**SHAPES[shape], max_position_embeddings=2048, bos_token_id=0)
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def histories_of(data: Path, users: int) -> tuple[list[list[str]], list[str]]:
    """The titles that test users have bought, evenly spread over the users, and all titles."""
    dataset = Dataset.load(data)
    catalogue = dataset.catalogue("paper")
    examples = dataset.examples("test")
    chosen = [examples[n * len(examples) // users] for n in range(users)]
    return [[*map(catalogue.title, each.history)] for each in chosen], [*catalogue.titles]


def published_prompts(
    histories: Sequence[Sequence[str]], titles: Sequence[str]
) -> tuple[list[list[int]], Any]:
    """The published prompt of each history, as tokens of a BPE of these titles; and that
    tokenizer."""
    instruction = [PAPER_TEMPLATE.header, PAPER_TEMPLATE.footer, PAPER_TEMPLATE.item] * 50
    tokenizer = train_tokenizer([*titles, *instruction], vocabulary=1300)

    def count(text: str) -> int:
        return len(tokenizer(text)["input_ids"])

    builder = PromptBuilder(PAPER_TEMPLATE, count_tokens=count, max_tokens=MOST_PROMPT)
    texts = [builder.build(UserId(""), (), history).text for history in histories]
    made: list[list[int]] = tokenizer(texts)["input_ids"]
    return made, tokenizer


def _spread(prompts: list[list[int]], count: int) -> list[list[int]]:
    """That many of the prompts, evenly spread, so that their lengths are those of all."""
    return [prompts[n * len(prompts) // count] for n in range(min(count, len(prompts)))]


def _ours(model: Any, entries: int | None) -> Run:
    settings = BeamSettings(BEAMS, BEAMS, NEW_TOKENS, 0.0, end=-1)
    search = choose_search(model, settings, None, entries=entries)

    def run(prompts: Sequence[Sequence[int]]) -> None:
        results = search.search(prompts)
        assert all(len(beam.tokens) == NEW_TOKENS for beams in results for beam in beams)

    return run


def _generate(model: Any, batch: int, *, tidy: bool) -> Run:
    def run(prompts: Sequence[Sequence[int]]) -> None:
        # The published script keeps the users' order; at its best `generate` gets sorted prompts.
        ordered = prompts if tidy else sorted(prompts, key=len)
        for first in range(0, len(ordered), batch):
            part = ordered[first : first + batch]
            longest = max(map(len, part))
            tokens = torch.tensor([[0] * (longest - len(p)) + list(p) for p in part])
            mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in part])
            model.generate(
                input_ids=tokens.to(model.device),
                attention_mask=mask.to(model.device),
                num_beams=BEAMS,
                num_return_sequences=BEAMS,
                min_new_tokens=NEW_TOKENS,
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
            )
            if tidy:
                if model.device.type == "cuda":
                    torch.cuda.empty_cache()
                gc.collect()

    return run


class _Translator:
    """CTranslate2 with the same weights in fp32."""

    def __init__(self, model: Any) -> None:
        import ctranslate2
        from ctranslate2.converters import TransformersConverter

        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(f"{folder}/hf")
            _plain_tokenizer(model.config.vocab_size, Path(folder) / "hf")
            TransformersConverter(f"{folder}/hf").convert(f"{folder}/ct2")
            self.generator = ctranslate2.Generator(
                f"{folder}/ct2", intra_threads=torch.get_num_threads(), compute_type="float32"
            )
        self.names = [f"<{token}>" for token in range(model.config.vocab_size)]

    def run(self, prompts: Sequence[Sequence[int]], *, batch: int, prefix: int) -> None:
        texts = [[self.names[token] for token in p] for p in sorted(prompts, key=len)]
        self.generator.generate_batch(
            [text[prefix:] for text in texts],
            static_prompt=texts[0][:prefix] or None,
            cache_static_prompt=True,
            beam_size=BEAMS,
            num_hypotheses=BEAMS,
            min_length=NEW_TOKENS,
            max_length=NEW_TOKENS,
            include_prompt_in_result=False,
            max_batch_size=batch,
        )


def _plain_tokenizer(size: int, folder: Path) -> None:
    """A vocabulary of names of numbers: the converter wants one, the benchmark does not."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {f"<{token}>": token for token in range(size)}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<0>")),
        bos_token="<0>",
        eos_token="<1>",
        unk_token="<0>",
    )
    fast.save_pretrained(folder)


def _rate(run: Run, prompts: Sequence[Sequence[int]], device: str) -> Rate:
    """After a warm-up that has met the longest prompt."""
    run([max(prompts, key=len), *prompts[:15]])
    wait(device)
    torch.cuda.empty_cache()
    return Rate(_timed(run, prompts, device).users)


def _timed(run: Run, prompts: Sequence[Sequence[int]], device: str) -> Rate:
    started, worked = time.perf_counter(), time.process_time()
    run(prompts)
    wait(device)
    return Rate(
        len(prompts) / (time.perf_counter() - started),
        (time.process_time() - worked) / len(prompts),
    )


def _report(
    args: argparse.Namespace, model: Any, prompts: list[list[int]], rows: dict[str, Rate]
) -> dict[str, Any]:
    matrix = matrix_rate(args.device)
    copy = _copy_rate(args.device)
    mean = sum(map(len, prompts)) / len(prompts)
    head = model.config.vocab_size * model.config.hidden_size
    body = sum(p.numel() for p in model.model.layers.parameters())
    generated = BEAMS * (NEW_TOKENS - 1)
    work = 2 * body * (mean + generated) + 2 * head * (1 + generated)
    limit = matrix / work
    peers = {name: peer for name, peer in rows.items() if name != "ours"}
    ours = rows["ours"]
    report = {
        "machine": torch.cuda.get_device_name() if args.device != "cpu" else processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "shape": args.shape,
        "users": args.peer_users if args.device == "cpu" else len(prompts),
        "mean prompt tokens": round(mean, 1),
        "matrix product, TFLOP/s": round(matrix / 1e12, 3),
        "copy, GB/s": round(copy / 1e9, 1),
        "limit, users/s": round(limit, 1),
        "users/s": {name: round(rate.users, 2) for name, rate in rows.items()},
        "ours, share of the limit": round(ours.users / limit, 3),
        "ours over": {name: round(ours.users / peer.users, 2) for name, peer in peers.items()},
    }
    if ours.cpu:
        report["rounds"] = args.rounds
        report["processor seconds a user"] = {
            name: round(rate.cpu or 0.0, 3) for name, rate in rows.items()
        }
        report["ours over, by processor seconds"] = {
            name: round((peer.cpu or 0.0) / ours.cpu, 2) for name, peer in peers.items()
        }
    return report


def _copy_rate(device: str) -> float:
    """Bytes a second of a large copy, read and written."""
    source = torch.empty(2**30 if device != "cpu" else 2**27, dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / seconds_of(lambda: target.copy_(source), device)


if __name__ == "__main__":
    main()
