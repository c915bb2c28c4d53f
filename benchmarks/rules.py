"""What rules cost at the call: each against no rule in the same run, and decoding within a mask.

    python benchmarks/rules.py --out benchmarks/results/rules-cpu.json

The shop is the built-in generator's, with a maker, a price and a product group beside each title;
its bundle has a small language model, rankers that count purchases and vectors of titles, fused by
their ranks. One history a call, all rules in turn, so that whatever else the machine does falls on
all of them alike; milliseconds are the processor's, as others may use the machine. "first" is a
rule's first call, which makes its mask and its trie of titles. Every list is held against its rule.
Decoding is measured apart, by one generator within the whole catalogue and within a tenth of it,
drawn at random.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from gloss.data.readers.shop import make_shop
from gloss.decoding.open import open_generator
from gloss.experiment.bundling import fit
from gloss.experiment.loading import with_overrides
from gloss.prompts import Prompt
from gloss.recommender.bundle import Bundle
from gloss.recommender.recommender import Recommendations, Recommender
from gloss.recommender.rules import NO_RULES, Rules
from machine import processor

K = 10
NONE = "no rule"
SETTINGS: dict[str, Any] = {
    "name": "rules",
    "model": {"vocabulary": 1500, "layers": 2, "width": 128, "heads": 4, "context": 256},
    "training": {"epochs": 2, "batch_tokens": 2048, "learning_rate": 0.004, "warmup_steps": 10},
    "decoding": {"beams": 10},
    "rankers": {
        "use": ["transitions", "second-order-transitions", "word-overlap", "title-similarity"],
        "length": 60,
    },
}


@dataclass(frozen=True, slots=True)
class Case:
    """A rule, and whether a list keeps it."""

    rules: Rules
    keeps: Callable[[Sequence[Mapping[str, Any]]], bool]
    fills_up: bool = True


def tables(folder: Path, users: int) -> dict[str, Any]:
    """The shop as tables, with the columns that rules are about; the data section that reads
    them."""
    shop, rng = make_shop(users=users), np.random.default_rng(0)
    items = shop.items.with_columns(
        maker=pl.col("title").str.split(" ").list.first(),
        product=pl.col("title").str.split(",").list.first(),
        price=pl.Series(rng.integers(1, 100, shop.items.height)),
    )
    shop.interactions.write_parquet(folder / "purchases.parquet")
    items.write_parquet(folder / "items.parquet")
    return {
        "source": "table",
        "interactions": str(folder / "purchases.parquet"),
        "items": str(folder / "items.parquet"),
        "group": "product",
        "columns": ["maker", "price"],
    }


def recommender_of(folder: Path, users: int) -> Recommender:
    """The fitted bundle of the shop."""
    experiment = with_overrides({**SETTINGS, "data": tables(folder, users)}, [])
    return Recommender.open(fit(experiment, folder / "bundle", parts=folder / "parts").path)


def cases(bundle: Bundle, least: float) -> dict[str, Case]:
    """Each rule. least: a score that some items of a list have."""
    ids = [item.id for item in bundle.catalogue]
    drawn = np.random.default_rng(1).permutation(len(ids))
    tenth = frozenset(ids[row] for row in drawn[: len(ids) // 10])
    return {
        NONE: Case(NO_RULES, lambda items: True),
        "exclude a tenth": Case(
            Rules(exclude=tenth), lambda items: not {i["item"] for i in items} & tenth
        ),
        "only a tenth": Case(Rules(only=tenth), lambda items: {i["item"] for i in items} <= tenth),
        "where price < 30": Case(
            Rules(where="price < 30"), lambda items: all(i["price"] < 30 for i in items)
        ),
        "at most 2 of a maker": Case(
            Rules(at_most={"maker": 2}), lambda items: most_common(items, "maker") <= 2
        ),
        "one variant": Case(
            Rules(one_variant=True), lambda items: most_common(items, "group") <= 1
        ),
        "boost price < 30": Case(Rules(boosts={"price < 30": 2.0}), lambda items: True),
        "diversity 0.3": Case(Rules(diversity=0.3), lambda items: True),
        "minimum score": Case(
            Rules(minimum_score=least),
            lambda items: all(i["score"] >= least for i in items),
            fills_up=False,
        ),
        "where, at most, boost and diversity": Case(
            Rules(
                where="price < 60",
                at_most={"maker": 2},
                boosts={"price < 30": 2.0},
                diversity=0.3,
            ),
            lambda items: all(i["price"] < 60 for i in items) and most_common(items, "maker") <= 2,
        ),
    }


def most_common(items: Sequence[Mapping[str, Any]], column: str) -> int:
    """How many of the items have the value that most of them have."""
    return max(Counter(item[column] for item in items).values(), default=0)


def measured(recommender: Recommender, calls: int) -> dict[str, Any]:
    """Processor milliseconds of each rule, and how they compare with none."""
    histories = drawn_histories(recommender.bundle, calls)
    scores = [item.score for item in recommender.recommend(histories[:1], K)[0].items]
    known = cases(recommender.bundle, float(np.median(scores)))
    times: dict[str, list[float]] = {name: [] for name in known}
    first: dict[str, float] = {}
    for name, case in known.items():
        first[name] = timed(recommender, histories[0], case)
    order = [*known]
    for history in histories:
        order = [*order[1:], order[0]]  # whatever is asked first after another history pays for it
        for name in order:
            times[name].append(timed(recommender, history, known[name]))
    usual = np.array(times[NONE])
    return {
        name: {
            "first, ms": round(first[name], 1),
            "median, ms": round(float(np.median(of_rule)), 1),
            "p95, ms": round(float(np.quantile(of_rule, 0.95)), 1),
            "ratio of medians": round(float(np.median(of_rule) / np.median(usual)), 2),
            "ratio of p95": round(float(np.quantile(of_rule, 0.95) / np.quantile(usual, 0.95)), 2),
        }
        for name, of_rule in times.items()
    }


def timed(recommender: Recommender, history: Sequence[str], case: Case) -> float:
    """Processor milliseconds of a call, whose list has to keep the rule and to be full."""
    started = time.process_time()
    (answer,) = recommender.recommend([history], K, rules=case.rules)
    milliseconds = 1000 * (time.process_time() - started)
    require(answer, recommender, case)
    return milliseconds


def require(answer: Recommendations, recommender: Recommender, case: Case) -> None:
    """Raise ValueError for a list that breaks its rule or is not full."""
    columns = recommender.bundle.columns
    shown = [
        {**columns.row(recommender.catalogue.row(each.item), named=True), "score": each.score}
        for each in answer.items
    ]
    if not case.keeps(shown) or (case.fills_up and len(shown) < K):
        raise ValueError(f"{case.rules} gave {shown}")


def drawn_histories(bundle: Bundle, count: int) -> list[list[str]]:
    """Histories of six titles, drawn at random: their lists do not matter here, their length
    does."""
    rng, titles = np.random.default_rng(2), bundle.catalogue.titles
    return [
        [titles[row] for row in rng.choice(len(titles), 6, replace=False)] for _ in range(count)
    ]


def decoding(bundle: Bundle, users: int) -> dict[str, Any]:
    """Generating within a tenth of the catalogue, against the whole of it."""
    assert bundle.model is not None
    assert bundle.settings.model is not None
    settings = bundle.settings.model.decoding
    whole = open_generator(bundle.model, settings, bundle.catalogue)
    rows = np.random.default_rng(3).permutation(len(bundle.catalogue))
    tenth = type(bundle.catalogue)(
        bundle.catalogue[row] for row in sorted(rows[: len(rows) // 10].tolist())
    )
    part = whole.within(tenth)
    builder = whole.prompt_builder()
    histories = drawn_histories(bundle, users)
    prompts: list[Prompt] = [builder.build(str(n), (), h) for n, h in enumerate(histories)]
    seconds: dict[str, list[float]] = {"whole": [], "tenth": []}
    written = []
    generators = [("whole", whole), ("tenth", part)]
    for prompt in prompts:
        generators.reverse()
        for name, generator in generators:
            started = time.process_time()
            found = generator.generate([prompt])
            seconds[name].append(time.process_time() - started)
            if name == "tenth":
                written += found
    allowed = {*tenth.titles}
    texts = [query.text for each in written for query in each.queries]
    full = min(settings.returned or settings.beams, len(allowed))
    medians = {name: 1000 * float(np.median(of)) for name, of in seconds.items()}
    return {
        "users": users,
        "beams": settings.beams,
        "titles": len(bundle.catalogue.titles),
        "titles allowed": len(allowed),
        "whole, median ms": round(medians["whole"], 1),
        "tenth, median ms": round(medians["tenth"], 1),
        "ratio of medians": round(medians["tenth"] / medians["whole"], 2),
        "titles written": len(texts),
        "of them allowed": sum(text in allowed for text in texts),
        "users with a full list": sum(len(each.queries) == full for each in written),
    }


def call_parser() -> argparse.ArgumentParser:
    """How the script is called."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=600, help="of the shop")
    parser.add_argument("--calls", type=int, default=100, help="of each rule")
    parser.add_argument("--out", type=Path, default=None)
    return parser


def main() -> None:
    """Fit, measure, print, write."""
    given = call_parser().parse_args()
    with TemporaryDirectory(prefix="gloss-") as folder:
        recommender = recommender_of(Path(folder), given.users)
        found = {
            "machine": processor(),
            "items": len(recommender.catalogue),
            "calls of each rule": given.calls,
            "rules": measured(recommender, given.calls),
            "decoding": decoding(recommender.bundle, given.calls),
        }
    text = json.dumps(found, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
