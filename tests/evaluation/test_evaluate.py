import json

import numpy as np
import pytest

from gloss.artifacts import Recipe
from gloss.data.histories import Example
from gloss.errors import ConfigError, InputError
from gloss.evaluation.evaluate import (
    KIND,
    Evaluation,
    EvaluationConfig,
    evaluate,
    figures,
    load_evaluation,
    write_evaluation,
)
from gloss.evaluation.segments import SegmentBounds, segments_of
from gloss.rankings.ranking import RankedItem, Ranking


def ranking(user: str, items: str) -> Ranking:
    return Ranking(user, tuple(RankedItem(item, 0.0, None) for item in items))


EXAMPLES = [
    Example("u", ("x", "y"), "a"),
    Example("v", tuple("x" * 5), "b"),
    Example("w", tuple("x" * 20), "c"),
]
LENGTHS = np.array([2, 5, 20])
RANKINGS = [ranking("u", "ab"), ranking("v", "ab"), ranking("w", "ab")]


def measured(rankings=RANKINGS, examples=EXAMPLES) -> Evaluation:
    return evaluate(rankings, examples, (1, 2), protocol="fair")


def test_each_user_is_measured_against_the_next_item():
    evaluation = measured()
    assert evaluation.users == ("u", "v", "w")
    assert evaluation.values["recall@1"].tolist() == [1, 0, 0]
    assert evaluation.values["mrr"].tolist() == [1, 1 / 2, 0]
    assert evaluation.means()["recall@2"] == pytest.approx((1 + 1 + 0) / 3)


def test_the_order_of_the_rankings_does_not_matter():
    assert measured(RANKINGS[::-1]).users == ("u", "v", "w")
    assert measured(RANKINGS[::-1]).means() == measured().means()


def test_a_ranking_of_the_first_users_is_measured_on_those():
    assert measured(RANKINGS[:2]).users == ("u", "v")


def test_a_ranking_of_some_users_is_measured_on_those():
    assert measured([RANKINGS[2], RANKINGS[0]]).users == ("u", "w")
    assert measured([RANKINGS[2], RANKINGS[0]]).means()["mrr"] == pytest.approx((1 + 0) / 2)


def test_a_user_who_was_never_asked_is_named():
    with pytest.raises(InputError, match="user stranger and 0 more of the ranking are not in"):
        measured([*RANKINGS, ranking("stranger", "a")])


def test_a_user_ranked_twice_is_an_error():
    with pytest.raises(InputError, match="holds a user twice"):
        measured([RANKINGS[0], RANKINGS[0]])


def test_no_rankings_are_an_error():
    with pytest.raises(InputError, match="holds no users"):
        measured([])


def test_restricted_figures_are_those_of_the_users_alone():
    half = measured().restrict(["w", "u"])
    assert half.users == ("u", "w")
    assert half.values["mrr"].tolist() == [1, 0]


def test_restricting_to_a_stranger_is_an_error():
    with pytest.raises(InputError, match="user nobody was not evaluated"):
        measured().restrict(["nobody"])


def coin(users: int = 400) -> Evaluation:
    values = np.arange(users) % 2.0
    return Evaluation("fair", tuple(f"u{n}" for n in range(users)), {"recall@1": values})


def test_an_interval_has_the_width_that_theory_gives():
    low, high = coin().interval("recall@1", resamples=20000)
    half_width = 1.96 * (0.5 * 0.5 / 400) ** 0.5
    assert low == pytest.approx(0.5 - half_width, abs=0.005)
    assert high == pytest.approx(0.5 + half_width, abs=0.005)


def test_a_higher_level_is_wider_and_a_seed_repeats():
    low, high = coin().interval("recall@1", level=0.99)
    assert low < coin().interval("recall@1")[0] < coin().interval("recall@1")[1] < high
    assert coin().interval("recall@1", seed=3) == coin().interval("recall@1", seed=3)


def test_equal_values_leave_no_doubt():
    sure = Evaluation("fair", ("u", "v"), {"mrr": np.array([0.25, 0.25])})
    assert sure.interval("mrr") == (0.25, 0.25)


def test_wrong_intervals_are_errors():
    with pytest.raises(ConfigError, match="no metric 'map', measured were recall@1"):
        coin().interval("map")
    with pytest.raises(ConfigError, match="between 0 and 1, not at 95"):
        coin().interval("recall@1", level=95)
    with pytest.raises(InputError, match="no users"):
        coin().restrict([]).interval("recall@1")


def test_no_users_have_no_figures():
    assert figures(coin().restrict([])) == {"users": 0, "metrics": {}}


CONFIG = EvaluationConfig(
    protocol="fair",
    split="test",
    cutoffs=(1, 2),
    bounds=SegmentBounds(),
    length=2,
    ranker=None,
    rankers=None,
    index=None,
    exclude_seen=True,
)


def write(path, evaluation, segments):
    with Recipe(KIND, CONFIG.to_json(), {"ranking": "f"}).draft(path) as draft:
        write_evaluation(draft, evaluation, segments=segments)


def test_an_evaluation_comes_back_as_it_was(tmp_path):
    evaluation = measured()
    write(tmp_path / "e", evaluation, {})
    artifact, found = load_evaluation(tmp_path / "e")
    assert (found.protocol, found.users) == ("fair", evaluation.users)
    assert found.means() == evaluation.means()
    assert {m: v.tolist() for m, v in found.values.items()} == {
        m: v.tolist() for m, v in evaluation.values.items()
    }
    assert EvaluationConfig.of(artifact) == CONFIG
    assert artifact.summary == {"users": 3, **evaluation.means()}


def test_the_report_holds_every_segment_with_its_users(tmp_path):
    segments = segments_of(LENGTHS, SegmentBounds(cold=3, regular=30))
    write(tmp_path / "e", measured(), segments)
    report = json.loads((tmp_path / "e" / "metrics.json").read_bytes())
    assert report["protocol"] == "fair"
    assert report["overall"]["metrics"]["recall@1"]["mean"] == 1 / 3
    assert report["segments"]["cold"]["users"] == 1
    assert report["segments"]["cold"]["metrics"]["mrr"] == {"mean": 1, "low": 1, "high": 1}
    assert report["segments"]["regular"]["metrics"]["mrr"]["mean"] == 1 / 4
    assert report["segments"]["power"] == {"users": 0, "metrics": {}}


def test_segments_of_other_users_are_refused(tmp_path):
    with pytest.raises(InputError, match="made for 3 users, 2 were evaluated"):
        write(tmp_path / "e", measured(RANKINGS[:2]), segments_of(LENGTHS, SegmentBounds()))
