"""Shops whose customers buy again what they had: half of what a grocer sells."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gloss.config import ShopData
from gloss.data.dataset import Dataset
from gloss.data.histories import Example, History
from gloss.errors import ConfigError
from gloss.evaluation.evaluate import EvaluationConfig, evaluate, load_evaluation
from gloss.experiment import pipeline
from gloss.experiment.following import on_data, protocol_of
from gloss.experiment.loading import with_overrides
from gloss.experiment.run_folder import RANKERS, RunFolder
from gloss.experiment.served import served_list
from gloss.experiment.stages import prepare
from gloss.rankers.ranker import RankRequest
from gloss.rankers.repeats import SPEC, RepeatsSettings
from gloss.rankers.sources import RankerSources
from preparing import csv_items, csv_log, write

USERS = 600
PARTS = ("repeats", "transitions", "second-order-transitions", "word-overlap")
GROCER = {
    "name": "grocer",
    "data": {"source": "shop", "users": USERS, "repeats": 0.5, "split": "leave-one-out"},
    "rankers": {"use": [*PARTS], "length": 60},
    "fusion": {"rule": "trees"},
}


@pytest.fixture(scope="module")
def grocer(tmp_path_factory) -> RunFolder:
    """Rankers of a grocer's customers, fused."""
    pytest.importorskip("lightgbm")
    folder = tmp_path_factory.mktemp("grocer") / "run"
    pipeline.run_rankers(with_overrides(GROCER, []), folder)
    return RunFolder(folder)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Dataset:
    """The demo's shop, in which nobody buys an item twice."""
    out = tmp_path_factory.mktemp("demo") / "data"
    return Dataset.load(prepare(ShopData(users=60), out).path)


@pytest.fixture
def data(grocer) -> Dataset:
    return Dataset.load(grocer.data)


def recall(folder: RunFolder, name: str) -> float:
    return load_evaluation(folder.evaluation(name))[1].means()["recall@5"]


def most_bought(example: Example) -> list[str]:
    """A user's own items, the most bought first, the latest of equals first."""
    counts = Counter(example.history)
    last = {item: place for place, item in enumerate(example.history)}
    return sorted(counts, key=lambda item: (-counts[item], -last[item]))


def test_half_of_a_grocers_answers_were_bought_before_and_lists_keep_them(grocer, data):
    examples = data.examples("test")
    again = np.mean([example.target in example.history for example in examples])
    assert again == pytest.approx(0.5, abs=0.05)
    assert data.repeats.share == pytest.approx(0.5, abs=0.06)
    assert EvaluationConfig.of(load_evaluation(grocer.evaluation(RANKERS))[0]).exclude_seen is False


def test_the_fused_list_is_better_than_each_part_and_than_what_a_user_bought_most(grocer, data):
    examples = data.examples("test")
    own = np.mean([example.target in most_bought(example)[:5] for example in examples])
    fused = recall(grocer, RANKERS)
    assert fused >= own + 10 / USERS
    assert served_list(grocer)[0] == RANKERS
    for name in PARTS:
        assert fused >= recall(grocer, name) + 6 / USERS, name


def test_the_interval_between_repeats_tells_more_than_count_and_recency_alone(grocer, data):
    examples, sources = data.examples("test"), RankerSources(data, "fair")
    request = RankRequest([History(e.user, e.history) for e in examples], 5, exclude_seen=False)

    def ndcg(settings: RepeatsSettings) -> float:
        ranked = SPEC.build(sources, settings).rank(request)
        return evaluate(ranked, examples, (5,), protocol="fair").means()["ndcg@5"]

    assert ndcg(RepeatsSettings()) > ndcg(RepeatsSettings(intervals=False)) + 0.005


def test_what_is_said_comes_before_the_data(grocer, data, caplog):
    experiment = with_overrides(GROCER, ["ranking.exclude_seen=true"])
    followed = on_data(experiment, data)
    assert protocol_of(followed).exclude_seen
    assert followed.rankers.use == PARTS[1:]
    assert caplog.messages == [
        "repeats takes no part: it lists what was bought before, and lists leave that out "
        "(ranking.exclude_seen)"
    ]


def test_without_repeats_lists_leave_out_what_was_bought_unless_it_is_said(demo):
    experiment = with_overrides(GROCER, [])
    followed = on_data(experiment, demo)
    assert (followed.ranking.exclude_seen, followed.rankers.use) == (True, PARTS[1:])
    kept = on_data(with_overrides(GROCER, ["ranking.exclude_seen=false"]), demo)
    assert (kept.ranking.exclude_seen, kept.rankers.use) == (False, PARTS)


def test_the_papers_protocol_is_as_published_whatever_people_buy(data, demo):
    for each in (data, demo):
        experiment = with_overrides(GROCER, ["protocol=paper", "rankers.use=[dual-encoder]"])
        followed = on_data(experiment, each)
        assert followed.ranking.exclude_seen is False
        assert followed.rankers == experiment.rankers


def test_the_dual_encoder_is_trained_to_name_it_again_where_bought_items_are_kept(data, demo):
    experiment = with_overrides(GROCER, ["rankers.use=[dual-encoder]"])
    assert on_data(experiment, data).rankers.dual_encoder.repeats is True
    assert on_data(experiment, demo).rankers.dual_encoder.repeats is None
    said = with_overrides(
        GROCER, ["rankers.use=[dual-encoder]", "rankers.dual_encoder.repeats=false"]
    )
    assert on_data(said, data).rankers.dual_encoder.repeats is False


def test_repeats_alone_of_a_shop_without_them_are_nothing_to_do(tmp_path: Path):
    changes = ["data.repeats=0.0", "data.users=60", "rankers.use=[repeats]"]
    with pytest.raises(ConfigError, match="names no ranker"):
        pipeline.run_rankers(with_overrides(GROCER, changes), tmp_path / "run")


def test_where_everybody_buys_the_same_again_the_run_is_measured_without_a_setting(tmp_path: Path):
    """Thirty people who buy two things in turn: once, no validation answer was in any list."""
    rows = [(f"u{user:02}", f"i{time % 2}", time) for user in range(30) for time in range(4)]
    settings = {
        "name": "regulars",
        "data": {
            "source": "table",
            "interactions": str(write(tmp_path / "log.csv", csv_log(rows))),
            "items": str(write(tmp_path / "items.csv", csv_items())),
        },
        "rankers": {"use": ["repeats", "transitions"], "length": 20},
    }
    made = pipeline.run_rankers(with_overrides(settings, []), tmp_path / "run")
    artifact, evaluation = load_evaluation(made[RANKERS])
    assert EvaluationConfig.of(artifact).exclude_seen is False
    assert evaluation.means()["recall@5"] == 1
