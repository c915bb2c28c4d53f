"""The baselines that fusion uses: the transition graph, similar titles, SASRec."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from gloss.config import SASRec, ShopData, Transitions
from gloss.data.catalogue import Catalogue, Item
from gloss.data.dataset import Dataset
from gloss.data.histories import Example, History
from gloss.errors import InputError
from gloss.evaluation.metrics import target_ranks
from gloss.experiment.stages import prepare
from gloss.rankers import build_graph, similar_titles, transitions
from gloss.rankers.sasrec.ensemble import Ensemble
from gloss.rankers.sasrec.full_softmax import FullSoftmax
from gloss.rankers.sasrec.network import Network, load_network, save_network
from gloss.rankers.sasrec.ranker import sasrec
from gloss.rankers.sasrec.training import train_network

ITEMS = "abcdef"
CATALOGUE = Catalogue(Item(item, f"title {item}") for item in ITEMS)
PLAIN = Transitions(window=2, fading=0.5, degree_power=0.0, second_hop=0.0, decay=0.5)


def histories(*rows: str) -> list[History]:
    return [History(f"t{n}", tuple(row)) for n, row in enumerate(rows)]


def walked(train: list[str], history: str, settings: Transitions = PLAIN, *, exclude_seen=True):
    graph = build_graph(histories(*train), CATALOGUE, settings)
    (ranking,) = transitions(
        graph,
        [Example("u", tuple(history), "z")],
        CATALOGUE,
        settings=settings,
        length=9,
        exclude_seen=exclude_seen,
    )
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


def test_an_item_is_there_because_of_the_purchase_that_gives_most():
    ranking = walked(["ac", "ac", "ac", "bc", "bd"], "ab")
    # c: 0.5 x 3 from a against 1 from b.
    assert {e.item: e.because for e in ranking.entries} == {"c": "a", "d": "b"}


def shuffled(catalogue: Catalogue, seed: int) -> Catalogue:
    return Catalogue(random.Random(seed).sample(catalogue.items, len(catalogue)))


def test_the_order_of_the_catalogue_changes_no_score_and_gains_nothing(tmp_path):
    """Rows decide ties alone: in another order the answers are found as often, within the ties."""
    dataset = Dataset.load(prepare(ShopData(users=200), tmp_path / "data").path)
    catalogue = dataset.catalogue("fair")
    examples, settings, found = dataset.examples("test"), Transitions(), []
    for other in (catalogue, shuffled(catalogue, 0), shuffled(catalogue, 1)):
        graph = build_graph(dataset.train(), other, settings)
        made = transitions(graph, examples, other, settings=settings, length=10, exclude_seen=True)
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
        build_graph(histories(*each), CATALOGUE, Transitions())
        for each in (rows, [row[::-1] for row in rows])
    )
    assert np.array_equal(there.neighbours, back.neighbours)
    assert there.weights == pytest.approx(back.weights)


VECTORS = np.eye(6, dtype=np.float32)
VECTORS[2] = [0.6, 0.8, 0, 0, 0, 0]


def test_similarity_is_the_mean_cosine_weighted_by_how_recent_purchases_are():
    (ranking,) = similar_titles(
        VECTORS,
        [Example("u", ("a", "b"), "z")],
        CATALOGUE,
        settings=PLAIN,
        length=1,
        exclude_seen=True,
    )
    (entry,) = ranking.entries
    assert (entry.item, entry.because) == ("c", "b")
    assert entry.score == pytest.approx((0.5 * 0.6 + 1.0 * 0.8) / 1.5)


def test_without_a_purchase_nothing_is_similar():
    asked = [Example("u", (), "z"), Example("v", ("a",), "z")]
    one, two = similar_titles(
        VECTORS, asked, CATALOGUE, settings=PLAIN, length=9, exclude_seen=True
    )
    assert one.entries == ()
    assert len(two.entries) == 5


@pytest.mark.parametrize("positions", [1, 255, 256, 600])
def test_the_softmax_in_pieces_is_torchs_own(positions):
    torch.manual_seed(0)
    hidden, items = torch.randn(positions, 8), torch.randn(50, 8)
    targets, weights = torch.randint(50, (positions,)), torch.rand(positions)
    results = []
    for loss_of in (
        lambda h, v: (cross_entropy(h @ v.T, targets, reduction="none") * weights).mean(),
        lambda h, v: FullSoftmax.apply(h, v, targets, weights),
    ):
        h, v = hidden.clone().requires_grad_(), items.clone().requires_grad_()
        loss = 3 * loss_of(h, v)
        loss.backward()
        results.append((loss.detach(), h.grad, v.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


SMALL = SASRec(width=16, epochs=30, dropout=0.0, batch_users=8, length=6, learning_rate=0.02)
SHORT = SMALL.model_copy(update={"epochs": 4})
CYCLE = histories(*(("abcdef" * 2)[n : n + 6] for n in range(6))) * 4


def trained(tmp_path, *, seed=0, vectors=None, settings=SHORT) -> Network:
    network, _ = train_network(
        CYCLE,
        CATALOGUE,
        vectors=vectors,
        settings=settings,
        seed=seed,
        checkpoint=tmp_path / "checkpoint.pt",
    )
    (tmp_path / "checkpoint.pt").unlink()
    return network


def test_sasrec_learns_what_follows_what(tmp_path):
    network = trained(tmp_path, settings=SMALL)
    asked = [Example(f"u{n}", (a,), b) for n, (a, b) in enumerate(pairwise("abcdefa"))]
    lists = sasrec(Ensemble([network]), asked, CATALOGUE, length=1, exclude_seen=True)
    assert [ranking.entries[0].item for ranking in lists] == list("bcdefa")
    assert [ranking.entries[0].because for ranking in lists] == list("abcdef")


def test_scores_are_log_probabilities_and_networks_are_averaged(tmp_path):
    one, two = trained(tmp_path), trained(tmp_path, seed=1)
    asked = [Example("u", ("a", "b"), "c"), Example("v", (), "a")]
    alone = [Ensemble([each]).log_probabilities(asked[:1], CATALOGUE) for each in (one, two)]
    assert np.exp(alone[0]).sum() == pytest.approx(1.0, abs=1e-5)
    both, nobody = sasrec(Ensemble([one, two]), asked, CATALOGUE, length=6, exclude_seen=False)
    mean = (alone[0] + alone[1])[0] / 2
    assert {e.item: e.score for e in both.entries} == {
        item: pytest.approx(mean[row]) for row, item in enumerate(ITEMS)
    }
    assert nobody.entries == ()


def test_company_and_padding_change_nothing(tmp_path):
    network = trained(tmp_path)
    asked = [Example("u", tuple("abc"), "d"), Example("v", tuple("fedcba" * 3), "a")]
    together = Ensemble([network]).log_probabilities(asked, CATALOGUE)
    for place, example in enumerate(asked):
        alone = Ensemble([network]).log_probabilities([example], CATALOGUE)[0]
        assert together[place] == pytest.approx(alone, abs=1e-4)


def same(one: Network, other: Network) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_training_is_a_function_of_the_seed(tmp_path):
    assert same(trained(tmp_path, seed=3), trained(tmp_path, seed=3))
    assert not same(trained(tmp_path, seed=3), trained(tmp_path, seed=4))


class Killed(Exception):
    pass


def test_a_training_that_was_interrupted_ends_with_the_same_bits(tmp_path):
    def die(done, total, note=""):
        if done == total // 2 + 1:
            raise Killed

    told = {"vectors": VECTORS, "settings": SHORT, "seed": 0}
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        train_network(CYCLE, CATALOGUE, checkpoint=checkpoint, progress=die, **told)
    assert checkpoint.is_file()
    resumed, losses = train_network(CYCLE, CATALOGUE, checkpoint=checkpoint, **told)
    assert len(losses) == SHORT.epochs
    checkpoint.unlink()
    assert same(resumed, trained(tmp_path, vectors=VECTORS))


def test_several_threads_leave_the_same_bits(tmp_path):
    """With steps large enough for torch to share them out."""
    wide = SHORT.model_copy(update={"width": 1024, "epochs": 1, "batch_users": 24})
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first = trained(tmp_path, settings=wide)
        assert all(same(first, trained(tmp_path, settings=wide)) for _ in range(3))
    finally:
        torch.set_num_threads(threads)


def test_a_checkpoint_with_a_flipped_bit_is_as_good_as_none(tmp_path):
    """In a weight, where nothing but a checksum can see it."""
    checkpoint = tmp_path / "checkpoint.pt"
    told = {"vectors": None, "settings": SHORT, "seed": 0}
    whole, _ = train_network(CYCLE, CATALOGUE, checkpoint=checkpoint, **told)
    content = bytearray(checkpoint.read_bytes())
    content[content.index(whole.own.weight.detach().numpy().tobytes()) + 3] ^= 64
    checkpoint.write_bytes(content)
    again, losses = train_network(CYCLE, CATALOGUE, checkpoint=checkpoint, **told)
    assert len(losses) == SHORT.epochs
    assert same(again, whole)


def test_a_damaged_checkpoint_is_as_good_as_none(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 torn")
    assert same(trained(tmp_path), trained(tmp_path))


def test_networks_are_saved_without_the_vectors_of_titles(tmp_path):
    network = trained(tmp_path, vectors=VECTORS)
    save_network(network, tmp_path / "network.safetensors")
    loaded = load_network(
        tmp_path / "network.safetensors", CATALOGUE, vectors=VECTORS, settings=SHORT
    )
    assert same(network, loaded)
    asked = [Example("u", ("a",), "b")]
    assert Ensemble([loaded]).log_probabilities(asked, CATALOGUE) == pytest.approx(
        Ensemble([network]).log_probabilities(asked, CATALOGUE)
    )


def test_without_two_purchases_of_anybody_there_is_nothing_to_train_on(tmp_path):
    with pytest.raises(InputError, match="no user has two purchases"):
        train_network(
            histories("a", ""),
            CATALOGUE,
            vectors=None,
            settings=SMALL,
            seed=0,
            checkpoint=tmp_path / "checkpoint.pt",
        )
