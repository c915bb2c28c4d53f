"""Models from zero, tuned on validation users: how fast each variant trains, and how good it is.

    python benchmarks/scratch.py configs/toys-scratch.yaml --data data/toys --out variants \
        - training.batch_tokens=16384 training.batch_tokens=16384,training.reversed=0.5

Each variant is the configuration with the settings named, joined by commas; `-` is the
configuration as it is. Its stages lie in a folder of its own under `--out` and are not done twice.
Said for each: tokens a second once it runs, what share that is of a large matrix product measured
in the same run (6 operations a weight and token, attention not counted), seconds from the start to
the end of training, the loss of validation users' next titles (nats a title), and what the lists of
validation users are worth. Test users are never asked.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

from gloss.evaluation.evaluate import load_evaluation
from gloss.experiment import stages
from gloss.experiment.following import protocol_of
from gloss.experiment.loading import load_experiment
from gloss.experiment.settings import Experiment
from machine import best_device, hardware, matrix_rate

AS_IT_IS = "-"
COLUMNS = ("recall@5", "ndcg@5", "recall@10", "ndcg@10")
_WARM_UP = 5
"""Steps that are not timed: layers are compiled in them."""


def call_parser() -> argparse.ArgumentParser:
    """How the script is called."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("variants", nargs="+", help="KEY=VALUE,KEY=VALUE, or - for none")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--users", type=int, default=None, help="validation users, the first")
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    return parser


def main() -> None:
    """Parse, measure, print and write a line for each variant."""
    args = call_parser().parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for variant in args.variants:
        folder = args.out / (re.sub(r"[^\w.=-]+", "_", variant) if variant != AS_IT_IS else "as-is")
        changes = [] if variant == AS_IT_IS else variant.split(",")
        row = measured(load_experiment(args.config, changes), args.data, folder, args.users)
        line = json.dumps({"variant": variant, "machine": hardware(), **row})
        print(line, flush=True)
        with (args.out / "variants.jsonl").open("a") as file:
            file.write(line + "\n")


def measured(experiment: Experiment, data: Path, folder: Path, users: int | None) -> dict[str, Any]:
    """Train a variant, ask it of validation users, and say what came of it."""
    protocol, clock = protocol_of(experiment), _Clock()
    model = stages.train(
        data,
        folder / "model",
        model=experiment.model,
        training=experiment.training,
        titles=protocol.title_style,
        seed=experiment.seed,
        progress=clock,
    )
    seconds = time.perf_counter() - clock.made
    stages.generate(
        folder / "model",
        data,
        folder / "generations",
        split="validation",
        settings=experiment.decoding,
        limit_users=users,
    )
    decoded = time.perf_counter() - clock.made - seconds
    index = protocol.index_settings(experiment.index.retriever)
    stages.index(data, folder / "index", settings=index)
    stages.rank(folder / "generations", folder / "index", folder / "ranking", protocol=protocol)
    stages.evaluate(folder / "ranking", data, folder / "evaluation", protocol=protocol)
    means = load_evaluation(folder / "evaluation")[1].means()
    made = model.summary
    tokens, parameters = int(made["tokens"]), int(made["parameters"])
    speed = clock.share(int(made["steps"])) * tokens / clock.seconds if clock.seconds else None
    return {
        "parameters": parameters,
        "steps": made["steps"],
        "tokens/s": speed and round(speed),
        "share of a matrix product": speed
        and round(6 * parameters * speed / matrix_rate(best_device()), 3),
        "training, s": round(seconds, 1),
        "decoding, s": round(decoded, 1),
        "loss": made["loss"],
        "validation loss": made.get("validation_loss"),
        **{name: round(means[name], 4) for name in COLUMNS},
    }


class _Clock:
    """Progress that notes when the warm-up was over and when the last step was."""

    def __init__(self) -> None:
        self.made = time.perf_counter()
        self.warm, self.last, self.first = 0.0, 0.0, 0

    def __call__(self, done: int, _total: int | None, _note: str = "") -> None:
        self.last = time.perf_counter()
        if not self.first and done >= _WARM_UP:
            self.warm, self.first = self.last, done

    @property
    def seconds(self) -> float:
        """Between the two."""
        return self.last - self.warm

    def share(self, steps: int) -> float:
        """What part of all steps was made in that time."""
        return (steps - self.first) / steps


if __name__ == "__main__":
    main()
