"""Buying again: a grocer's customers, half of whose purchases repeat an earlier one, as a table.

    python benchmarks/repeats.py -o benchmarks/repeats.md

The shop is the built-in generator's, so that nothing has to be downloaded: `gloss run` with
data.source=shop and data.repeats=0.5, rankers without a language model. Every figure is of the
same test users; nothing is typed in.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from gloss.data.dataset import Dataset
from gloss.data.histories import Example
from gloss.evaluation.evaluate import Evaluation, evaluate, load_evaluation
from gloss.evaluation.significance import compare
from gloss.experiment import pipeline
from gloss.experiment.loading import with_overrides
from gloss.experiment.run_folder import RANKERS, RunFolder
from gloss.experiment.settings import Experiment
from gloss.fusion.rules import RULES
from gloss.rankers.specs import ranker_named
from gloss.rankings.ranking import RankedItem, Ranking

METRICS = ("recall@1", "recall@5", "recall@20", "ndcg@5")
PARTS = ("repeats", "transitions", "second-order-transitions", "word-overlap", "popularity")
OWN = "the user's own most bought items"


def experiment_of(users: int, share: float, *changes: str) -> Experiment:
    """The grocer's experiment."""
    settings = {
        "name": "grocer",
        "data": {"source": "shop", "users": users, "repeats": share, "split": "leave-one-out"},
        "rankers": {"use": [*PARTS], "length": 60},
    }
    return with_overrides(settings, changes)


def most_bought(example: Example) -> Ranking:
    """A user's own items, the most bought first, the latest of equals first."""
    counts = Counter(example.history)
    last = {item: place for place, item in enumerate(example.history)}
    order = sorted(counts, key=lambda item: (-counts[item], -last[item]))
    return Ranking(example.user, tuple(RankedItem(item, float(counts[item])) for item in order))


def fused_by(rule: str, users: int, share: float, folder: Path, *changes: str) -> Evaluation:
    """What all rankers give together; rankings that are there are not made again."""
    experiment = experiment_of(users, share, f"fusion.rule={rule}", "fusion.guard=false", *changes)
    made = pipeline.run_rankers(experiment, folder)
    return load_evaluation(made[RANKERS])[1]


def measured(users: int, share: float, folder: Path) -> dict[str, Evaluation]:
    """Every list, by what it is called in the table."""
    kept, left = folder / "kept", folder / "left"
    fused = {f"fused {r.label} (`{r.name}`)": fused_by(r.name, users, share, kept) for r in RULES}
    run, data = RunFolder(kept), Dataset.load(kept / "data")
    examples = data.examples("test")
    cutoffs = (1, 5, 20)
    rows = {OWN: evaluate([most_bought(e) for e in examples], examples, cutoffs, protocol="fair")}
    for name in PARTS:
        label = f"{ranker_named(name).label} (`{name}`)"
        rows[label] = load_evaluation(run.evaluation(name))[1]
    without = fused_by("trees", users, share, left, "ranking.exclude_seen=true")
    return {**rows, **fused, "fused by fitted trees, bought items left out": without}


def table(rows: dict[str, Evaluation]) -> str:
    """Markdown: a row a list, with the paired difference in Recall@5 from the own most bought."""
    head = ["list", *METRICS, "against own most bought, recall@5 (95 %)"]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    for label, evaluation in rows.items():
        means = evaluation.means()
        found = compare(evaluation, rows[OWN], "recall@5")
        against = f"{found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
        cells = [label, *(f"{means[m]:.4f}" for m in METRICS), "" if label == OWN else against]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def call_parser() -> argparse.ArgumentParser:
    """What may be called."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--share", type=float, default=0.5)
    return parser


def main() -> None:
    """Measure, and write the page."""
    given = call_parser().parse_args()
    with TemporaryDirectory() as folder:
        rows = measured(given.users, given.share, Path(folder))
        repeats = Dataset.load(Path(folder) / "kept" / "data").repeats
    given.out.write_text(
        "# Buying again\n\nMade by `python benchmarks/repeats.py`: the built-in shop with "
        f"`data.repeats={given.share}` and {given.users:,} users, split leave-one-out, protocol "
        f"FAIR; {repeats.repeated:,} of {repeats.answers:,} validation answers had been bought "
        f"before, so that lists keep bought items.\n\n{table(rows)}\n"
    )


if __name__ == "__main__":
    main()
