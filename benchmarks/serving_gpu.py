"""What a service takes of a GPU's speed: users a second behind HTTP beside all at once.

    python benchmarks/serving_gpu.py --shapes small llama-3.2-1b --out serving-gpu.json

Random weights of real shapes (decoding.py) and an invented catalogue with an invented log; nothing
is fetched. For each shape a bundle is made whose language model answers alone, by beams inside the
catalogue, and three things are measured:

1. all at once: one call of the recommender for all users
2. saturation: the service, with two batches of clients that ask as soon as they are answered
3. at 70 % of that, in an open loop: the times of answers

The generator of the load shares the machine's cores with the service. Prints a row for each shape.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

import invented
import serving as load
from decoding import SHAPES
from gloss.arrays import Ints
from gloss.artifacts import Artifact, Draft, Recipe
from gloss.config import Decoding, ScratchModel, Training
from gloss.data.catalogue import Catalogue, Item, ItemId
from gloss.language.loading import LanguageModel, save_language_model
from gloss.language.records import KIND as MODEL
from gloss.language.records import ModelConfig
from gloss.language.scratch.tokenizer import train_tokenizer
from gloss.prompts import PAPER_TEMPLATE, TITLES_ONLY
from gloss.recommender.bundle import KIND, BundleConfig, Contents, ModelPart, write_bundle
from gloss.recommender.rules import NO_RULES
from gloss.retrieval.index import index_recipe, write_index
from gloss.retrieval.settings import BM25Settings
from gloss.serving.model_process import ServedProcess
from machine import hardware
from service_process import ServiceProcess, serving

_ITEMS, _PURCHASES, _WORDS = 20_000, 200_000, 6_000
_VOCABULARY = 8_000
_COLUMNS = (
    "at once",
    "served",
    "share",
    "p50 ms",
    "p99 ms",
    "answered",
    "refused",
    "late",
    "failed",
)
_TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": _VOCABULARY,
    "tie_word_embeddings": True,
}
"""To try the script on a CPU."""

_LOAD = 0.7


def call_parser() -> argparse.ArgumentParser:
    """What the script takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+", choices=[*SHAPES, "tiny"], default=["small"])
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--users", type=int, default=4096, help="of the call for all at once")
    parser.add_argument("--batch", type=int, default=512, help="--max-batch of the service")
    parser.add_argument("--seconds", type=float, default=15, help="of each measurement")
    parser.add_argument("--out", type=Path, default=None)
    return parser


def main() -> None:
    args = call_parser().parse_args()
    _allow_many_sockets()
    report: dict[str, Any] = {"machine": hardware(), "torch": torch.__version__, **_said(args)}
    with tempfile.TemporaryDirectory() as folder:
        catalogue, times_bought, histories = _shop(args.users)
        index = _index(Path(folder) / "index", catalogue, times_bought)
        print(f"{'':<14}" + "".join(f"{name:>9}" for name in _COLUMNS), flush=True)
        for shape in args.shapes:
            place = Path(folder) / shape
            bundle = _bundle(place, shape, args.beams, catalogue, times_bought, index)
            report[shape] = row = _measured(bundle, histories, args)
            print(f"{shape:<14}" + "".join(f"{value:>9}" for value in row.values()), flush=True)
            shutil.rmtree(place)
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


def _said(args: argparse.Namespace) -> dict[str, Any]:
    names = ("beams", "users", "batch", "seconds")
    return {name: getattr(args, name) for name in names}


def _allow_many_sockets() -> None:
    """As many open files as the system lets us have; the service inherits it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _measured(
    bundle: Path, histories: Sequence[Sequence[str]], args: argparse.Namespace
) -> dict[str, float]:
    """Rates and times of one bundle."""
    at_once = _at_once(bundle, histories, args.batch)
    requests = [load._request({"history": list(history), "k": 10}) for history in histories]
    rng = random.Random(0)

    async def ask(service: ServiceProcess) -> tuple[load.Outcome, load.Outcome]:
        closed = partial(load.closed_loop, service.port, requests, clients=2 * args.batch)
        await closed(seconds=args.seconds / 2)  # to warm up: graphs of every size
        peak = await closed(seconds=args.seconds)
        usual = await load.open_loop(
            service.port, requests, rng, rate=_LOAD * peak.rate, seconds=args.seconds
        )
        return peak, usual

    bounds = ("--max-batch", str(args.batch), "--max-waiting", str(8 * args.batch))
    with (
        tempfile.TemporaryDirectory() as state,
        serving(bundle, Path(state), *bounds) as service,
    ):
        peak, usual = asyncio.run(ask(service))
    late, failed = usual.late + usual.unsent, usual.failed
    return {
        "all at once, users/s": round(at_once, 1),
        "served, users/s": round(peak.rate, 1),
        "share": round(peak.rate / at_once, 3),
        "p50 ms at 70 %": round(load.percentile(usual.answered, 0.5)),
        "p99 ms at 70 %": round(load.percentile(usual.answered, 0.99)),
        "answered at 70 %": len(usual.answered),
        "refused": len(usual.refused),
        "late": late,
        "failed": failed,
    }


def _at_once(bundle: Path, histories: Sequence[Sequence[str]], batch: int) -> float:
    """Users a second of one call for all of them, in a process like that of the service."""
    served = ServedProcess.open(bundle)
    served.recommend(histories[:batch], 10, rules=NO_RULES, wish=None)  # to warm up
    began = time.monotonic()
    lists = served.recommend(histories, 10, rules=NO_RULES, wish=None)
    assert all(len(made.items) == 10 for made in lists)
    return len(lists) / (time.monotonic() - began)


def _shop(users: int) -> tuple[Catalogue, Ints, list[list[str]]]:
    """A catalogue, how often its items were bought, and the histories of some users."""
    rng = random.Random(invented.SEED)
    titles = [
        " ".join(f"w{rng.randrange(_WORDS)}" for _ in range(rng.randint(6, 11)))
        for _ in range(_ITEMS)
    ]
    items = [Item(ItemId(f"i{number}"), title) for number, title in enumerate(titles)]
    log = pl.concat(invented.purchases(max(_PURCHASES, 20 * users), _ITEMS))
    counts = dict(log["item"].value_counts().iter_rows())
    times_bought = np.array([counts.get(item.id, 0) for item in items], np.int64)
    by_user = log.sort("time").group_by("user", maintain_order=True).agg("item")
    return Catalogue(items), times_bought, by_user["item"].to_list()[:users]


def _index(folder: Path, catalogue: Catalogue, times_bought: Ints) -> Artifact:
    settings = BM25Settings()

    def fill(draft: Draft) -> None:
        write_index(draft, catalogue, settings, times_bought=times_bought)

    return index_recipe("invented", settings).make(folder, fill)


def _bundle(
    folder: Path, shape: str, beams: int, catalogue: Catalogue, times_bought: Ints, index: Artifact
) -> Path:
    """A bundle whose language model answers alone."""
    model = _model(folder / "model", shape, catalogue)
    part = ModelPart(
        decoding=Decoding(mode="catalogue", beams=beams),
        fusion="beam-order",
        per_query=1,
        length=10,
    )
    config = BundleConfig(
        name=shape, titles="fair", exclude_seen=True, length=10, encoder=None, fusion=None,
        model=part, rankers=(),
    )  # fmt: skip
    contents = Contents(catalogue, times_bought, index, model, None, None)
    recipe = Recipe(KIND, config.to_json(), {"model": model.fingerprint})
    return recipe.make(folder / "bundle", partial(write_bundle, contents=contents)).path


def _model(folder: Path, shape: str, catalogue: Catalogue) -> Artifact:
    """Random weights, with a tokenizer of the catalogue's titles and a prompt like the shape's."""
    template = PAPER_TEMPLATE if shape.startswith("llama") else TITLES_ONLY
    texts = [*catalogue.titles, *[template.render(["x"])] * 50]
    tokenizer = train_tokenizer(texts, vocabulary=_VOCABULARY)
    config = LlamaConfig(
        **(SHAPES | {"tiny": _TINY})[shape], max_position_embeddings=1024, bos_token_id=0
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    with torch.device(device):
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    record = ModelConfig(titles="fair", seed=0, model=ScratchModel(), training=Training())

    def fill(draft: Draft) -> None:
        save_language_model(draft, LanguageModel(model, tokenizer, template))

    return Recipe(MODEL, record.to_json(), {}).make(folder, fill)


if __name__ == "__main__":
    main()
