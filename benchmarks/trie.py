"""What the trie of titles costs on a CPU: to build, to hold, in a decoding step, to score whole.

    python benchmarks/trie.py --data data/toys --titles 12000 1000000

The first titles are the catalogue's own; the others are spliced from two of them each, the
beginning of one and the rest of another, so they branch as titles do. Steps are those of a model of
shape "small" with random weights; processor seconds are counted, as others may use the machine.
Forced tokens are those that only one title can go on with.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from decoding import BEAMS, histories_of, published_prompts, random_model
from gloss.config import Decoding, ScratchModel
from gloss.data.dataset import Dataset
from gloss.decoding.beams import BeamSettings
from gloss.decoding.cpu.search import CpuSearch, CpuSlots
from gloss.decoding.title_trie import TitleTrie
from gloss.decoding.transformers_generator import TransformersGenerator
from gloss.language.loading import LanguageModel
from gloss.language.scratch.llama import new_model
from gloss.language.scratch.tokenizer import train_tokenizer
from gloss.prompts import TITLES_ONLY
from machine import processor


def call_parser() -> argparse.ArgumentParser:
    """How the script is called."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--titles", type=int, nargs="+", default=[12_000, 1_000_000])
    parser.add_argument("--users", type=int, default=32)
    parser.add_argument("--out", type=Path, default=None)
    return parser


def main() -> None:
    """Build, decode, print, write."""
    args = call_parser().parse_args()
    model = random_model("small", "cpu")
    prompts, _ = published_prompts(*histories_of(args.data, args.users))
    own = Dataset.load(args.data).catalogue("fair").titles
    ids: list[list[int]] = train_tokenizer(own, vocabulary=8000)([*own])["input_ids"]
    report: dict[str, Any] = {"machine": processor(), "users": args.users, "beams": BEAMS}
    for count in args.titles:
        titles = _spliced(ids, count)
        started = time.process_time()
        trie = TitleTrie.build(titles, end=0, vocabulary=8000)
        built = time.process_time() - started
        report[f"{count:,} titles"] = {
            "nodes": trie.dead,
            "build, processor seconds": round(built, 2),
            "megabytes": round(_bytes(trie) / 2**20, 1),
            "share of a step": round(_share(model, trie, prompts), 4),
            **_forced(trie),
        }
        print(json.dumps(report, indent=1), flush=True)
    report["exact scoring"] = _exact(Dataset.load(args.data), users=8)
    print(json.dumps(report["exact scoring"], indent=1))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


def _exact(dataset: Dataset, *, users: int) -> dict[str, float]:
    """What the probability of every title costs with a model of the demo's shape."""
    catalogue = dataset.catalogue("fair")
    tokenizer = train_tokenizer(catalogue.titles, vocabulary=1500)
    end = int(tokenizer.eos_token_id)
    shape = ScratchModel(vocabulary=1500, layers=2, width=128, heads=4, context=384)
    model = new_model(shape, vocabulary=len(tokenizer), end=end, dropout=0.0, seed=0).eval()
    generator = TransformersGenerator(
        LanguageModel(model, tokenizer, TITLES_ONLY), Decoding(mode="exact"), catalogue
    )
    examples = dataset.examples("test", limit=users)
    prompts = generator.prompt_builder().build_all(examples, catalogue)
    started, worked = time.perf_counter(), time.process_time()
    generator.title_scores(prompts)
    return {
        "titles": len(catalogue.titles),
        "tokens read a user": generator.footprint().new_tokens,
        "seconds a user": round((time.perf_counter() - started) / users, 2),
        "processor seconds a user": round((time.process_time() - worked) / users, 2),
    }


def _spliced(ids: list[list[int]], count: int) -> list[list[int]]:
    rng = random.Random(0)
    titles = ids[:count]
    while len(titles) < count:
        one, other = rng.choice(ids), rng.choice(ids)
        titles.append(one[: rng.randint(1, len(one))] + other[len(other) // 2 :])
    return titles


def _bytes(trie: TitleTrie) -> int:
    arrays = (trie.starts, trie.tokens, trie._sources, trie._keys)
    return sum(array.numel() * array.itemsize for array in arrays)


def _share(model: Any, trie: TitleTrie, prompts: list[list[int]]) -> float:
    """Processor time in the trie over that of all decoding steps, prompts not counted."""
    search = CpuSearch(model, BeamSettings(BEAMS, BEAMS, 50, 0.0, end=0), trie, entries=65536)
    search.search(prompts[:2])
    in_trie, in_steps = _Clock(), _Clock()
    trie_topk, step = CpuSlots._trie_topk, CpuSlots._step
    CpuSlots._trie_topk = staticmethod(in_trie.around(trie_topk))
    CpuSlots._step = in_steps.around(step)
    try:
        search.search(prompts)
    finally:
        CpuSlots._trie_topk, CpuSlots._step = staticmethod(trie_topk), step
    return in_trie.seconds / in_steps.seconds


class _Clock:
    """Processor seconds spent in a function."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Any:
        def timed(*arguments: Any, **named: Any) -> Any:
            started = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += time.process_time() - started

        return timed


def _forced(trie: TitleTrie) -> dict[str, float]:
    """How many of a title's tokens are forced, its end too: what could be fed in one go."""
    children = trie.starts.diff()[: trie.dead]
    single = (children[trie._sources] == 1).float()[None]
    forced, depths = trie.sums(single)[0, trie.leaves], trie.depths[trie.leaves].float()
    return {
        "tokens a title": round(float(depths.mean()), 1),
        "of these forced": round(float(forced.mean()), 1),
    }


if __name__ == "__main__":
    main()
