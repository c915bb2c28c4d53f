from __future__ import annotations

import pytest
import torch

from gloss.rankers.dual_encoder import log_partition as module
from gloss.rankers.dual_encoder.log_partition import log_partition

CANDIDATES, WIDTH = 30, 8
PURCHASES = torch.tensor([[4, 7, 1], [4, 29, 0], [12, 12, 3], [8, 9, 10]])


def sums_and_gradients(*, repeats: bool) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    queries, items = (
        torch.randn(CANDIDATES, WIDTH, generator=generator, requires_grad=True) for _ in range(2)
    )
    sums = log_partition(queries, items, PURCHASES, repeats=repeats)
    (sums * torch.arange(1.0, 13).reshape(4, 3)).sum().backward()
    return [sums.detach(), queries.grad, items.grad]


@pytest.mark.parametrize("repeats", [True, False])
def test_it_is_the_logarithm_of_the_sum_over_all_other_candidates(repeats):
    queries, items = torch.eye(3) * 2, torch.eye(3)
    found = log_partition(queries, items, torch.tensor([1]), repeats=repeats)
    e = torch.e
    expected = torch.log(torch.tensor([e**2 + 1 + 1 if repeats else 1.0 + 1]))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("repeats", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 9])
def test_pieces_have_the_sums_and_the_gradients_of_the_whole(monkeypatch, repeats, rows):
    whole = sums_and_gradients(repeats=repeats)
    monkeypatch.setattr(module, "_MAX_LOGITS", rows * CANDIDATES)
    for one, other in zip(sums_and_gradients(repeats=repeats), whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_no_more_logits_than_those_of_a_piece_are_kept_for_the_way_back(monkeypatch):
    monkeypatch.setattr(module, "_MAX_LOGITS", 3 * CANDIDATES)
    kept: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        queries = torch.randn(CANDIDATES, WIDTH, requires_grad=True)
        log_partition(queries, torch.randn(CANDIDATES, WIDTH), PURCHASES, repeats=False)
    assert max(kept) <= CANDIDATES * WIDTH
