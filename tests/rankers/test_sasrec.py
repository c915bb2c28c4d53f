"""SASRec: its loss, its training and its lists."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from gloss.data.catalogue import Catalogue, Item
from gloss.data.histories import History
from gloss.errors import InputError
from gloss.rankers.ranker import RankRequest
from gloss.rankers.sasrec import full_softmax
from gloss.rankers.sasrec.ensemble import Ensemble
from gloss.rankers.sasrec.full_softmax import FullSoftmax
from gloss.rankers.sasrec.network import Network, begin_from, load_network, save_network
from gloss.rankers.sasrec.ranker import SASRec
from gloss.rankers.sasrec.settings import SASRecSettings
from gloss.rankers.sasrec.training import train_network

ITEMS = "abcdef"
CATALOGUE = Catalogue(Item(item, f"title {item}") for item in ITEMS)
VECTORS = np.eye(6, dtype=np.float32)


def histories(*rows: str) -> list[History]:
    return [History(f"t{n}", tuple(row)) for n, row in enumerate(rows)]


@pytest.mark.parametrize("logits", [1, 2000, full_softmax._CPU_LOGITS])
@pytest.mark.parametrize("positions", [1, 255, 256, 600])
def test_the_softmax_in_pieces_is_torchs_own(monkeypatch, positions, logits):
    monkeypatch.setattr(full_softmax, "_CPU_LOGITS", logits)  # a position, 40 or 256 of a piece
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


SMALL = SASRecSettings(
    width=16, epochs=30, dropout=0.0, batch_users=8, length=6, learning_rate=0.02
)
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


def ranked(networks: list[Network], asked: list[History], *, length: int, exclude_seen: bool):
    ranker = SASRec(Ensemble(networks), CATALOGUE)
    return ranker.rank(RankRequest(asked, length, exclude_seen))


def test_sasrec_learns_what_follows_what(tmp_path):
    network = trained(tmp_path, settings=SMALL)
    asked = [History(f"u{n}", (item,)) for n, item in enumerate(ITEMS)]
    lists = ranked([network], asked, length=1, exclude_seen=True)
    assert [ranking.entries[0].item for ranking in lists] == list("bcdefa")
    assert [ranking.entries[0].because for ranking in lists] == list("abcdef")


def test_scores_are_log_probabilities_and_networks_are_averaged(tmp_path):
    one, two = trained(tmp_path), trained(tmp_path, seed=1)
    asked = [History("u", ("a", "b")), History("v", ())]
    alone = [Ensemble([each]).log_probabilities(asked[:1], CATALOGUE) for each in (one, two)]
    assert np.exp(alone[0]).sum() == pytest.approx(1.0, abs=1e-5)
    both, nobody = ranked([one, two], asked, length=6, exclude_seen=False)
    mean = (alone[0] + alone[1])[0] / 2
    assert {e.item: e.score for e in both.entries} == {
        item: pytest.approx(mean[row]) for row, item in enumerate(ITEMS)
    }
    assert nobody.entries == ()


def test_company_and_padding_change_nothing(tmp_path):
    network = trained(tmp_path)
    asked = [History("u", tuple("abc")), History("v", tuple("fedcba" * 3))]
    together = Ensemble([network]).log_probabilities(asked, CATALOGUE)
    for row, history in enumerate(asked):
        alone = Ensemble([network]).log_probabilities([history], CATALOGUE)[0]
        assert together[row] == pytest.approx(alone, abs=1e-4)


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
    content[content.index(whole.item_embedding.weight.detach().numpy().tobytes()) + 3] ^= 64
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
    asked = [History("u", ("a",))]
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


def test_a_network_of_more_items_begins_where_one_of_fewer_ended(tmp_path):
    """Items a to f, then x, f, a: all but x say of each other what they said."""
    old = trained(tmp_path)
    save_network(old, tmp_path / "old.safetensors")
    torch.manual_seed(1)
    network = Network(3, None, SHORT)
    begin = network.item_embedding.weight[0].detach().clone()
    begin_from(network, tmp_path / "old.safetensors", np.array([-1, 5, 0]))
    network.eval()
    assert torch.equal(network.item_embedding.weight[0], begin)
    asked = torch.tensor([[2, 1, 2]]), torch.tensor([[0, 5, 0]])  # a f a, in both
    ours, theirs = (
        each(rows, each.item_vectors()) for each, rows in zip((network, old), asked, strict=True)
    )
    torch.testing.assert_close(ours, theirs)
    logits = ours @ network.item_vectors()[1:].T, theirs @ old.item_vectors()[[5, 0]].T
    torch.testing.assert_close(*logits)


def test_a_network_of_another_shape_is_no_beginning(tmp_path):
    save_network(trained(tmp_path, vectors=VECTORS), tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="another network's"):
        begin_from(Network(6, None, SHORT), tmp_path / "other.safetensors", np.arange(6))
