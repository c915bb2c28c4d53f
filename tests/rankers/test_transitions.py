"""The transition graph, one step and two steps far."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from gloss.config import ShopData
from gloss.data.catalogue import Catalogue, Item
from gloss.data.dataset import Dataset
from gloss.data.histories import History
from gloss.data.history_rows import HistoryRows
from gloss.errors import ConfigError
from gloss.evaluation.metrics import target_ranks
from gloss.experiment.loading import with_overrides
from gloss.experiment.stages import prepare
from gloss.rankers.ranker import RankRequest
from gloss.rankers.transitions import (
    SECOND_ORDER,
    Transitions,
    TransitionsSettings,
    build_graph,
)
from gloss.testing.catalogues import catalogue_of

ITEMS = "abcdef"
CATALOGUE = Catalogue(Item(item, f"title {item}") for item in ITEMS)
PLAIN = TransitionsSettings(window=2, fading=0.5, degree_power=0.0, second_hop=0.0, decay=0.5)


def rows_of(*histories: str) -> HistoryRows:
    return HistoryRows.of(
        [History(f"t{n}", tuple(items)) for n, items in enumerate(histories)], CATALOGUE
    )


def walked(
    train: list[str],
    history: str,
    settings: TransitionsSettings = PLAIN,
    *,
    exclude_seen: bool = True,
):
    graph = build_graph(rows_of(*train), CATALOGUE, settings)
    ranker = Transitions(graph, CATALOGUE, settings)
    (ranking,) = ranker.rank(RankRequest([History("u", tuple(history))], 9, exclude_seen))
    return ranking


def scores(ranking) -> dict[str, float]:
    return {entry.item: pytest.approx(entry.score) for entry in ranking.entries}


def test_neighbours_in_a_history_are_joined_by_how_near_they_are():
    # b and a are one apart (weight 1), c and a two (0.5); d is out of the window.
    assert scores(walked(["abcd"], "a")) == {"b": 1.0, "c": 0.5}


def test_joining_has_no_direction():
    assert scores(walked(["abcd"], "d")) == {"c": 1.0, "b": 0.5}


def test_joint_purchases_add_up_and_the_best_has_one():
    assert scores(walked(["ab", "ab", "ac"], "a")) == {"b": 2 / 2, "c": 1 / 2}


def test_the_last_purchase_counts_most():
    # c from a: 0.5 x 1; d from b: 1 x 1.
    assert scores(walked(["ac", "bd"], "ab")) == {"d": 1.0, "c": 0.5}


def test_only_recent_purchases_count():
    few = PLAIN.model_copy(update={"recent": 1})
    assert scores(walked(["ac", "bd"], "ab", few)) == {"d": 1.0}


def test_degrees_are_divided_out_on_both_sides():
    powered = PLAIN.model_copy(update={"degree_power": 0.5, "window": 1})
    # degrees: a 3, b 3 (two with a, one with d), c 1; edges a-b 2 / (3 x 3)^.5, a-c 1 / (3 x 1)^.5
    found = scores(walked(["ab", "ab", "ac", "bd"], "a", powered))
    assert found == {"b": 1.0, "c": (1 / 3**0.5) / (2 / 3)}


def test_two_steps_reach_further_and_are_scaled_by_their_own_best():
    settings = PLAIN.model_copy(update={"window": 1, "second_hop": 0.25})
    # One step from a: b. Two: a (itself, once through b) and c, each 1.
    assert scores(walked(["ab", "bc"], "a", settings)) == {"b": 1.0, "c": 0.25}


def test_what_nothing_reaches_is_left_out_and_so_is_what_was_bought():
    assert scores(walked(["ab", "de"], "a")) == {"b": 1.0}
    assert scores(walked(["ab", "bc"], "ab")) == {"c": 1.0 * 1 / 1.0}
    assert walked(["ab"], "").entries == ()
    assert walked(["a"], "a").entries == ()


def test_what_is_bought_again_is_joined_to_itself():
    # In a a b: a-a one apart, counted from both ends (2 x 1); a-b one and two apart (1 + 0.5).
    assert scores(walked(["aab"], "a", exclude_seen=False)) == {"a": 1.0, "b": 1.5 / 2}
    assert scores(walked(["aab"], "a")) == {"b": 1.5 / 2}


def test_an_item_is_there_because_of_the_purchase_that_gives_most():
    ranking = walked(["ac", "ac", "ac", "bc", "bd"], "ab")
    # c: 0.5 x 3 from a against 1 from b.
    assert {e.item: e.because for e in ranking.entries} == {"c": "a", "d": "b"}


BOUGHT = 12


def counted_plainly(train: list[list[int]], history: list[int]) -> np.ndarray:
    """The module's formula with dense matrices: window 3, fading and decay 0.5, hops 1 and 0.5."""
    graph = np.zeros((BOUGHT, BOUGHT))
    for items in train:
        for place, one in enumerate(items):
            for gap, other in enumerate(items[place + 1 : place + 4], 1):
                graph[one, other] += 0.5 ** (gap - 1)
                graph[other, one] += 0.5 ** (gap - 1)
    weights = np.zeros(BOUGHT)
    for age, item in enumerate(reversed(history)):
        weights[item] += 0.5**age
    hops = weights @ graph, weights @ graph @ graph
    return sum(scale * hop / (hop.max() or 1) for scale, hop in zip((1, 0.5), hops, strict=True))


@pytest.mark.parametrize("size", [BOUGHT, 10_000])
def test_lists_are_those_of_plain_counting_in_small_and_in_large_catalogues(size):
    """Sums of powers of two are exact, so that scores are equal, not near."""
    rng = np.random.default_rng(size)
    catalogue = catalogue_of([f"title {n}" for n in range(size)])
    ids = [item.id for item in catalogue]
    settings = TransitionsSettings(
        window=3, fading=0.5, degree_power=0, second_hop=0.5, decay=0.5, recent=10
    )
    train, asked = (
        [rng.integers(0, BOUGHT, rng.integers(1, 9)).tolist() for _ in range(count)]
        for count in (40, 20)
    )
    trained, histories = (
        [History(f"u{n}", tuple(ids[row] for row in rows)) for n, rows in enumerate(each)]
        for each in (train, asked)
    )
    graph = build_graph(HistoryRows.of(trained, catalogue), catalogue, settings)
    request = RankRequest(histories, 9, exclude_seen=True)
    made = Transitions(graph, catalogue, settings).rank(request)
    for history, ranking in zip(asked, made, strict=True):
        scores = counted_plainly(train, history)
        scores[history] = 0
        best = sorted(np.flatnonzero(scores), key=lambda row: (-np.float32(scores[row]), row))[:9]
        assert [entry.item for entry in ranking.entries] == [ids[row] for row in best]
        assert [entry.score for entry in ranking.entries] == pytest.approx(scores[best], rel=1e-6)


def test_the_heaviest_edges_of_an_item_are_kept():
    # From a: b 2, c 1, d 1; of b, c and d the only edge leads to a.
    one = PLAIN.model_copy(update={"window": 1, "neighbours": 1})
    train = ["ab", "ab", "ad", "ac"]
    assert scores(walked(train, "a", one)) == {"b": 1.0}
    two = one.model_copy(update={"neighbours": 2})
    assert scores(walked(train, "a", two)) == {"b": 1.0, "c": 0.5}  # equals by row: d is left out
    assert scores(walked(train, "d", one)) == {"a": 1.0}


def test_equal_scores_stand_by_sales_and_then_by_row():
    graph = build_graph(rows_of("ab", "ac", "ad"), CATALOGUE, PLAIN)
    ranker = Transitions(graph, CATALOGUE, PLAIN, np.array([3, 1, 5, 5, 0, 0]))
    (ranking,) = ranker.rank(RankRequest([History("u", ("a",))], 9, exclude_seen=True))
    assert [entry.item for entry in ranking.entries] == ["c", "d", "b"]
    assert {entry.score for entry in ranking.entries} == {1.0}


def test_a_window_that_numbers_cannot_hold_is_refused():
    catalogue = catalogue_of(["kite", "soap"])
    settings = TransitionsSettings.model_construct(window=2**62)
    with pytest.raises(ConfigError, match="too long for 2 items"):
        build_graph(HistoryRows.of([], catalogue), catalogue, settings)


def shuffled(catalogue: Catalogue, seed: int) -> Catalogue:
    return Catalogue(random.Random(seed).sample(catalogue.items, len(catalogue)))


def test_the_order_of_the_catalogue_changes_no_score_and_gains_nothing(tmp_path):
    """Rows decide ties alone: in another order the answers are found as often, within the ties."""
    dataset = Dataset.load(prepare(ShopData(users=200), tmp_path / "data").path)
    catalogue = dataset.catalogue("fair")
    examples, settings, found = dataset.examples("test"), TransitionsSettings(), []
    asked = [History(each.user, each.history) for each in examples]
    for other in (catalogue, shuffled(catalogue, 0), shuffled(catalogue, 1)):
        graph = build_graph(HistoryRows.of(dataset.train(), other), other, settings)
        ranker = Transitions(graph, other, settings)
        made = ranker.rank(RankRequest(asked, length=10, exclude_seen=True))
        ranks = target_ranks(made, [e.target for e in examples])
        found.append((float((ranks > 0).mean()), [[e.score for e in r.entries] for r in made]))
    for (hits, lists), (other_hits, other_lists) in pairwise(found):
        assert hits == pytest.approx(other_hits, abs=0.02)
        for mine, theirs in zip(lists, other_lists, strict=True):
            assert mine == pytest.approx(theirs, abs=1e-5)


def test_the_graph_is_the_same_when_histories_are_reversed():
    """Nothing learns which of two purchases came first: ids of one day stand in order."""
    rows = ["abcd", "bde", "fa"]
    there, back = (
        build_graph(rows_of(*each), CATALOGUE, TransitionsSettings())
        for each in (rows, [row[::-1] for row in rows])
    )
    assert np.array_equal(there.neighbours, back.neighbours)
    assert there.weights == pytest.approx(back.weights)


def test_one_setting_of_the_second_order_leaves_its_others_as_they_are():
    """Its defaults are not those of one step."""
    shop = {"name": "tiny", "data": {"source": "shop"}}
    changed = with_overrides(shop, ["rankers.second_order_transitions.decay=0.6"]).rankers
    usual = SECOND_ORDER.settings()
    assert changed.of(SECOND_ORDER) == usual.model_copy(update={"decay": 0.6})
    assert (usual.first_hop, usual.second_hop) == (0.0, 1.0)
