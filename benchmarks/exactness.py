"""Whether our beam search finds what `generate` of transformers finds, in fp32 on a CPU.

    python benchmarks/exactness.py --prompts 10000 --out benchmarks/results/exactness-cpu.json

A model of the demo's shape is trained on the built-in shop; prompts are the beginnings of all
histories. Free mode: tokens and scores of every beam beside those of `generate`. A difference is
explained if the two titles' scores lie within the rounding of fp32, so that neither order is wrong.
Catalogue mode: titles outside the catalogue, and how often the beams find the exactly best title.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import yaml

from gloss.config import Decoding
from gloss.data.dataset import Dataset
from gloss.decoding.beams import BeamSettings, Hypothesis
from gloss.decoding.choose_search import choose_search
from gloss.decoding.transformers_generator import TransformersGenerator
from gloss.experiment import stages
from gloss.experiment.loading import with_overrides
from gloss.language.loading import LanguageModel, load_language_model
from gloss.prompts import Prompt

ROUNDING = 1e-4
"""Nats: what sums of a dozen log-probabilities in fp32 differ by between batches of other sizes."""
BEAMS = 5


def call_parser() -> argparse.ArgumentParser:
    """How the script is called."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=3000, help="of the shop that is trained on")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--new-tokens", type=int, default=16)
    parser.add_argument("--exact-users", type=int, default=100)
    parser.add_argument("--work", type=Path, default=None, help="keeps the model between runs")
    parser.add_argument("--out", type=Path, default=None)
    return parser


def main() -> None:
    """Train, compare, print, write."""
    args = call_parser().parse_args()
    work = args.work or Path(tempfile.mkdtemp())
    language, dataset = _trained(work, users=args.users, epochs=args.epochs)
    prompts = _prompts(language, dataset, args.prompts)
    report = {
        "torch": torch.__version__,
        "parameters": language.model.num_parameters(),
        "shop users": args.users,
        "epochs": args.epochs,
        **_free(language, prompts, new_tokens=args.new_tokens),
        **_inside(language, dataset, users=args.exact_users),
    }
    print(json.dumps(report, indent=1))
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


def _trained(work: Path, *, users: int, epochs: int) -> tuple[LanguageModel, Dataset]:
    demo = yaml.safe_load(resources.files("gloss.cli").joinpath("demo.yaml").read_text("utf-8"))
    experiment = with_overrides(demo, [f"data.users={users}", f"training.epochs={epochs}"])
    stages.prepare(experiment.data, work / "data")
    stages.train(
        work / "data",
        work / "model",
        model=experiment.model,
        training=experiment.training,
        titles="fair",
        seed=experiment.seed,
    )
    return load_language_model(work / "model", device="cpu"), Dataset.load(work / "data")


def _prompts(language: LanguageModel, dataset: Dataset, count: int) -> list[list[int]]:
    """Beginnings of histories as tokens, all different users and lengths mixed."""
    catalogue = dataset.catalogue("fair")
    texts = [
        language.template.render([catalogue.title(item) for item in history.items[:length]])
        for history in dataset.histories()
        for length in range(1, len(history.items))
    ]
    random.Random(0).shuffle(texts)
    made: list[list[int]] = language.tokenizer(texts[:count])["input_ids"]
    return made


def _free(
    language: LanguageModel, prompts: Sequence[list[int]], *, new_tokens: int
) -> dict[str, Any]:
    end = int(language.tokenizer.eos_token_id)
    settings = BeamSettings(BEAMS, BEAMS, new_tokens, 0.0, end)
    search = choose_search(language.model, settings, None, entries=None)
    ours = search.search(prompts)
    theirs = _generate(language.model, prompts, settings)
    pairs = [
        pair
        for of_user, wanted in zip(ours, theirs, strict=True)
        for pair in zip(of_user, wanted, strict=True)
    ]
    differing = [(one, other) for one, other in pairs if one.tokens != other.tokens]
    gaps = [abs(one.score - other.score) for one, other in differing]
    return {
        "search": type(search).__name__,
        "prompts": len(prompts),
        "beams": len(pairs),
        "prompts with equal tokens in every beam": sum(
            [h.tokens for h in of_user] == [h.tokens for h in wanted]
            for of_user, wanted in zip(ours, theirs, strict=True)
        ),
        "beams with equal tokens": len(pairs) - len(differing),
        "largest difference of scores": max(abs(one.score - other.score) for one, other in pairs),
        "differing beams explained by rounding": sum(gap <= ROUNDING for gap in gaps),
        "differing beams not explained": sum(gap > ROUNDING for gap in gaps),
        "largest gap where tokens differ": max(gaps, default=0.0),
    }


def _generate(
    model: Any, prompts: Sequence[list[int]], settings: BeamSettings, *, batch: int = 256
) -> list[tuple[Hypothesis, ...]]:
    """The same by transformers, in batches of similar length."""
    results: list[tuple[Hypothesis, ...]] = [()] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    for first in range(0, len(order), batch):
        rows = order[first : first + batch]
        longest = max(len(prompts[row]) for row in rows)
        fill = [longest - len(prompts[row]) for row in rows]
        out = model.generate(
            input_ids=torch.tensor(
                [[settings.end] * n + prompts[row] for n, row in zip(fill, rows, strict=True)]
            ),
            attention_mask=torch.tensor([[0] * n + [1] * (longest - n) for n in fill]),
            num_beams=settings.beams,
            num_return_sequences=settings.returned,
            max_new_tokens=settings.max_new_tokens,
            length_penalty=settings.length_penalty,
            early_stopping=False,
            do_sample=False,
            return_dict_in_generate=True,
            output_scores=True,
        )
        written = [_until(settings.end, row) for row in out.sequences[:, longest:].tolist()]
        scored = list(map(Hypothesis, written, out.sequences_scores.tolist()))
        for first_beam, row in zip(range(0, len(scored), settings.returned), rows, strict=True):
            results[row] = tuple(scored[first_beam : first_beam + settings.returned])
        print(f"generate: {first + len(rows)} of {len(order)}", flush=True)
    return results


def _until(end: int, tokens: list[int]) -> tuple[int, ...]:
    return tuple(tokens[: tokens.index(end)] if end in tokens else tokens)


def _inside(language: LanguageModel, dataset: Dataset, *, users: int) -> dict[str, Any]:
    catalogue = dataset.catalogue("fair")
    examples = dataset.examples("test", limit=users)
    exact = TransformersGenerator(language, Decoding(mode="exact", beams=20), catalogue)
    beams = TransformersGenerator(language, Decoding(mode="catalogue", beams=20), catalogue)
    prompts: list[Prompt] = beams.prompt_builder().build_all(examples, catalogue)
    searched, scored = beams.generate(prompts), exact.generate(prompts)
    texts = [[query.text for query in generation.queries] for generation in searched]
    best = [[query.text for query in generation.queries] for generation in scored]
    pairs = list(zip(texts, best, strict=True))
    return {
        "catalogue": len(catalogue.titles),
        "titles outside the catalogue": sum(
            text not in set(catalogue.titles) for row in texts for text in row
        ),
        "users whose best title of 20 beams is exactly the best": sum(
            ours[0] == theirs[0] for ours, theirs in pairs
        ),
        "of users": len(pairs),
        "share of the exactly best 10 titles that 20 beams find": round(
            sum(len({*ours} & {*theirs[:10]}) for ours, theirs in pairs) / (10 * len(pairs)), 4
        ),
    }


if __name__ == "__main__":
    main()
