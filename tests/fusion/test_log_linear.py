import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gloss.data.histories import Example, History
from gloss.errors import ConfigError, InputError
from gloss.fusion.log_linear import RULE, LogLinear
from gloss.fusion.log_linear import fit as fit_request
from gloss.fusion.rule import FusionRequest
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.table import RankingTable


def listed(items: str, *, user: str = "u", scores=None, query: str | None = None) -> Ranking:
    scores = scores or [float(len(items) - n) for n in range(len(items))]
    pairs = zip(items, scores, strict=True)
    return Ranking(user, tuple(RankedItem(item, score, query, f"{item}!") for item, score in pairs))


def request(rankers, examples=()) -> FusionRequest:
    tables = [RankingTable.of(lists) for lists in rankers]
    return FusionRequest(tables, [History(e.user, e.history) for e in examples], {})


def fit(rankers, examples) -> LogLinear:
    return fit_request(request(rankers, examples), [example.target for example in examples])


def fuse(rankers, weights: LogLinear, *, length: int) -> RankingTable:
    return weights.fuse(request(rankers), length=length)


def ids(ranking: Ranking) -> str:
    return "".join(entry.item for entry in ranking.entries)


def by_score(*weights: float) -> LogLinear:
    """Weights of the rankers' scores alone."""
    return LogLinear(np.array([[weight, 0.0] for weight in weights]), users=1)


def test_an_items_score_is_the_weighted_sum_of_its_scores():
    one, two = listed("ab", scores=[-1.0, -3.0]), listed("ba", scores=[0.5, 0.25])
    (fused,) = fuse([[one], [two]], by_score(1.0, 4.0), length=9)
    assert {e.item: e.score for e in fused.entries} == {
        "a": 1.0 * -1.0 + 4.0 * 0.25,
        "b": 1.0 * -3.0 + 4.0 * 0.5,
    }


def test_an_item_that_a_list_does_not_hold_gets_its_lowest_score():
    one, two = listed("ab", scores=[-1.0, -3.0]), listed("c", scores=[7.0])
    (fused,) = fuse([[one], [two]], by_score(1.0, 1.0), length=9)
    assert {e.item: e.score for e in fused.entries} == {"a": -1 + 7, "b": -3 + 7, "c": -3 + 7}


def test_being_in_a_list_counts_by_itself():
    weights = LogLinear(np.array([[0.0, 3.0], [0.0, 10.0]]), users=1)
    (fused,) = fuse([[listed("ab")], [listed("bc")]], weights, length=9)
    assert {e.item: e.score for e in fused.entries} == {"b": 3.0 + 10.0, "c": 10.0, "a": 3.0}


def test_weights_are_read_from_their_file_to_the_last_bit(tmp_path):
    weights = LogLinear(np.array([[1 / 3, -2 / 7], [1e-17, 1e9 / 3]]), users=5)
    for name, text in weights.files().items():
        (tmp_path / name).write_text(text)
    read = RULE.load(tmp_path)
    assert read.weights.tolist() == weights.weights.tolist()
    assert read.users == 5


def test_an_item_carries_the_reason_of_the_ranker_that_lifts_it_most():
    one = listed("ab", scores=[2.0, 0.0], query="written")
    two = listed("ba", scores=[5.0, 4.0])
    (fused,) = fuse([[one], [two]], by_score(1.0, 1.0), length=9)
    assert {e.item: (e.query, e.because) for e in fused.entries} == {
        "a": ("written", "a!"),
        "b": (None, "b!"),
    }


def test_a_reason_never_comes_from_a_list_without_the_item():
    negative = by_score(-1.0, 1.0)
    (fused,) = fuse([[listed("ab", query="written")], [listed("c")]], negative, length=9)
    assert {e.item: e.query for e in fused.entries} == {"a": "written", "b": "written", "c": None}


def test_lists_are_cut_and_equal_scores_stand_as_they_are_named():
    (fused,) = fuse([[listed("ba")], [listed("dc")]], by_score(0.0, 0.0), length=3)
    assert ids(fused) == "bad"


def crowd(count: int, seed: int = 0):
    """Users whose next purchase is drawn by e^score of the first list; the second is noise."""
    rng = np.random.default_rng(seed)
    items = "abcdefgh"
    true, noise, examples = [], [], []
    for number in range(count):
        scores = rng.normal(size=len(items))
        shares = np.exp(scores) / np.exp(scores).sum()
        drawn = rng.choice(len(items), p=shares)
        for ranker, values in ((true, scores), (noise, rng.normal(size=len(items)))):
            order = np.argsort(-values)
            ranker.append(
                listed("".join(items[n] for n in order), user=f"u{number}", scores=[*values[order]])
            )
        examples.append(Example(f"u{number}", (), items[drawn]))
    return [true, noise], examples


def test_the_weights_are_those_that_the_answers_were_drawn_with():
    rankers, examples = crowd(800)
    weights = fit(rankers, examples)
    assert weights.users == 800
    # Every list holds every item, so being in it tells nothing.
    assert weights.weights == pytest.approx(np.array([[1.0, 0.0], [0.0, 0.0]]), abs=0.15)


def test_fitted_weights_are_at_least_as_likely_as_the_best_ranker_alone():
    rankers, examples = crowd(300, seed=1)

    def hits(rankings) -> int:
        return sum(ids(r)[:3].count(e.target) for r, e in zip(rankings, examples, strict=True))

    fused = fuse(rankers, fit(rankers, examples), length=8)
    assert hits(fused) >= 0.95 * hits(rankers[0])


def test_users_whose_answer_is_in_no_list_say_nothing():
    rankers, examples = crowd(50)
    lost = [Example(e.user, (), "z") for e in examples[25:]]
    fitted = fit(rankers, [*examples[:25], *lost])
    alone = fit([each[:25] for each in rankers], examples[:25])
    assert fitted.users == 25
    assert fitted.weights == pytest.approx(alone.weights)
    with pytest.raises(InputError, match="nothing to fit on"):
        fit([each[25:] for each in rankers], lost)


def test_lists_without_a_candidate_are_nothing_to_fit_on():
    empty = [Ranking("u", ()), Ranking("v", ())]
    examples = [Example("u", ("a",), "b"), Example("v", ("b",), "a")]
    with pytest.raises(InputError, match="nothing to fit on"):
        fit([empty, empty], examples)


def test_weights_for_other_rankers_are_refused():
    one = [listed("a", user="u")]
    with pytest.raises(ConfigError, match="1 rankers cannot fuse 2"):
        fuse([one, one], by_score(1.0), length=1)


@settings(deadline=None)
@given(
    st.lists(st.permutations("abcdef"), min_size=1, max_size=3),
    st.lists(st.floats(-5, 5), min_size=6, max_size=6),
)
def test_a_fused_list_holds_each_item_once_and_scores_fall(lists, numbers):
    rankers = [[listed("".join(each)[: 3 + n])] for n, each in enumerate(lists)]
    weights = LogLinear(np.array(numbers).reshape(3, 2)[: len(rankers)], users=1)
    (fused,) = fuse(rankers, weights, length=99)
    assert set(ids(fused)) == {item for (ranking,) in rankers for item in ids(ranking)}
    assert len(ids(fused)) == len(set(ids(fused)))
    scores = [entry.score for entry in fused.entries]
    assert scores == sorted(scores, reverse=True)
