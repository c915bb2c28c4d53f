"""Rankers as teachers: their probabilities on a device, and what is drawn by them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gloss.config import Distillation
from gloss.data.catalogue import Catalogue, Item
from gloss.data.histories import History
from gloss.rankers.dual_encoder.embeddings import DualEncoderEmbeddings
from gloss.rankers.dual_encoder.next_items import DualEncoderNextItems
from gloss.rankers.sasrec.ensemble import Ensemble
from gloss.rankers.sasrec.network import Network
from gloss.rankers.sasrec.settings import SASRecSettings
from gloss.rankers.specs import RANKERS
from gloss.rankers.teaching import RankersTeach
from gloss.training.sequences import pad_sequences

CPU = torch.device("cpu")
HISTORIES = [np.array(rows) for rows in ([3], [0, 1, 2], [5, 4, 3, 2, 1, 0, 5], [2, 2])]


class Fixed:
    """The same probabilities for everybody."""

    def __init__(self, *chances: float) -> None:
        self.logs = torch.tensor(chances).log()

    def next_log_probabilities(self, rows, counts):
        return self.logs.expand(len(rows), -1).clone()


def teacher(*rankers: Fixed, items: int, **settings) -> RankersTeach:
    names = tuple(f"r{n}" for n in range(len(rankers)))
    return RankersTeach(rankers, Distillation(teachers=names, **settings), items=items, device=CPU)


def drawn(made: RankersTeach, history: list[int], titles: int = 1, users: int = 4000):
    return made.draw([np.array(history)] * users, titles, seed=(1, 2))


def test_items_are_drawn_as_often_as_they_are_likely():
    rows = drawn(teacher(Fixed(0.5, 0.3, 0.15, 0.05), items=4), [3])
    shares = np.bincount(rows[:, 0], minlength=4) / len(rows)
    assert shares == pytest.approx([0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0], abs=0.03)


def test_only_candidates_are_drawn_and_scores_are_weighted_sums():
    """0.4² · 0.1, 0.2² · 0.6 and 0.3² · 0.2 are as 16, 24 and 18; 0.1² · 0.1 is no candidate."""
    rankers = Fixed(0.4, 0.2, 0.3, 0.1), Fixed(0.1, 0.6, 0.2, 0.1)
    made = teacher(*rankers, items=4, weights=(2.0, 1.0), candidates=3, bought=True)
    rows = drawn(made, [3])
    shares = np.bincount(rows[:, 0], minlength=4) / len(rows)
    assert shares == pytest.approx([16 / 58, 24 / 58, 18 / 58, 0], abs=0.03)


def test_nothing_is_drawn_twice_or_again_unless_it_may_be():
    chances = Fixed(0.6, 0.1, 0.1, 0.1, 0.1)
    rows = drawn(teacher(chances, items=5), [0], titles=4, users=50)
    assert all(sorted(row) == [1, 2, 3, 4] for row in rows.tolist())
    rows = drawn(teacher(chances, items=5, bought=True), [0], titles=4, users=50)
    assert (rows == 0).mean() == pytest.approx(0.6, abs=0.1)


def test_the_same_seed_draws_the_same_and_another_does_not():
    made = teacher(Fixed(*[0.1] * 10), items=10)
    once, again = (made.draw(HISTORIES, 3, seed=(0, 1)) for _ in range(2))
    assert once.tolist() == again.tolist()
    assert once.tolist() != made.draw(HISTORIES, 3, seed=(0, 2)).tolist()
    assert made.draw([], 3, seed=(0, 1)).shape == (0, 3)


@pytest.mark.parametrize("repeats", [False, True])
def test_the_dual_encoder_teaches_the_mixture_that_it_ranks_by(repeats):
    rng = np.random.default_rng(0)
    titles = np.array([0, 2, 1, 0, 3, 4])
    known = DualEncoderEmbeddings(
        titles,
        *(rng.normal(size=shape).astype(np.float32) for shape in ((5, 3), (5, 3), 5, 4)),
    )
    rows, mask = pad_sequences(HISTORIES, CPU)
    model = DualEncoderNextItems(known, CPU, repeats=repeats)
    found = model.next_log_probabilities(rows, mask.sum(1))
    for history, logs in zip(HISTORIES, found.numpy(), strict=True):
        recent = titles[history[-4:]]
        gates = known.mixture_gate(recent)
        mixture = gates @ known.next_probabilities(recent, repeats=repeats)
        least = np.log(np.maximum(mixture, 1e-12))
        assert logs == pytest.approx(least[titles], abs=1e-4)


def test_sasrec_teaches_the_probabilities_that_it_ranks_by():
    """Also of histories longer than it reads."""
    catalogue = Catalogue(Item(str(n), f"title {n}") for n in range(6))
    torch.manual_seed(0)
    networks = [Network(6, None, SASRecSettings(width=8, length=4, text=False)) for _ in range(2)]
    ensemble = Ensemble(networks)
    rows, mask = pad_sequences(HISTORIES, CPU)
    asked = [History("u", tuple(map(str, history.tolist()))) for history in HISTORIES]
    expected = ensemble.log_probabilities(asked, catalogue)
    found = ensemble.next_log_probabilities(torch.nn.functional.pad(rows, (0, 3)), mask.sum(1))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_those_teach_whose_scores_are_probabilities():
    assert [spec.name for spec in RANKERS if spec.teacher] == ["dual-encoder", "sasrec"]
