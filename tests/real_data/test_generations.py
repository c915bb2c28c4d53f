"""A generations file in the research repository's format, ranked and measured as users do it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from gloss.data.dataset import Dataset, prepare
from gloss.data.readers.amazon import read_amazon
from gloss.evaluation.evaluate import load_evaluation
from gloss.evaluation.protocol import FAIR, PAPER, EvaluationProtocol
from gloss.experiment import stages
from preparing import save_dataset

SOURCE = Path(__file__).parents[3] / "shared" / "data" / "amazon2014"
USERS = 2500

pytestmark = pytest.mark.skipif(not SOURCE.is_dir(), reason=f"{SOURCE} is absent")

BEAMS_AND_REMOVAL = replace(PAPER, name="fair", fusion="beam-order", exclude_seen=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Beauty, and what a model would write that knows only which item was bought after which."""
    folder = tmp_path_factory.mktemp("generations")
    save_dataset(prepare(read_amazon("beauty", SOURCE), split="paper"), folder / "data")
    data = Dataset.load(folder / "data")
    catalogue = data.catalogue("paper")
    following: dict[str, Counter[str]] = defaultdict(Counter)
    for history in data.train():
        for place, item in enumerate(history.items):
            following[item].update(history.items[max(0, place - 3) : place + 4])
    entries = [
        {
            "reviewer_id": example.user,
            "asin": example.target,
            "seen_asins": example.history,
            "generated_sequences": [
                f"Title: {catalogue.title(item)}"
                for item, _ in following[example.history[-1]].most_common(5)
            ],
        }
        for example in data.examples("test", limit=USERS)
    ]
    entries[0]["generated_sequences"] = ["", "Title: ", "Title: xyzzy", "the", "?"]
    (folder / "generations.json").write_text(json.dumps(entries))
    return folder


def measured(folder: Path, protocol: EvaluationProtocol) -> tuple[dict[str, float], dict]:
    index, made, out = (folder / f"{part}-{protocol.name}" for part in ("index", "rank", "eval"))
    stages.index(folder / "data", index, settings=protocol.index_settings())
    ranked = stages.rank(folder / "generations.json", index, made, protocol=protocol)
    stages.evaluate(made, folder / "data", out, protocol=protocol)
    return load_evaluation(out)[1].means(), ranked.summary


def test_beam_order_and_removal_alone_are_not_worse_than_paper(folder):
    paper, _ = measured(folder, PAPER)
    fair, _ = measured(folder, BEAMS_AND_REMOVAL)
    assert paper["recall@5"] > 0.03
    for metric in ("recall@5", "ndcg@5", "mrr@5"):
        assert fair[metric] >= paper[metric]


def test_fair_is_not_worse_than_paper(folder):
    paper, fair = measured(folder, PAPER)[0], measured(folder, FAIR)[0]
    for metric in ("recall@5", "ndcg@5", "mrr@5"):
        assert fair[metric] >= paper[metric]


def test_titles_that_mean_nothing_are_counted(folder):
    assert measured(folder, FAIR)[1]["queries that found nothing"] == 5
