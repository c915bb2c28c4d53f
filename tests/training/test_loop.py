from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from gloss.errors import InputError
from gloss.training.loop import Position, train


class Task:
    """One weight, and a loss that the test chooses; the step makes the weight `becomes`."""

    unit = "rows"

    def __init__(self, losses: list[float], becomes: float = 1.0) -> None:
        self.model = torch.nn.Linear(1, 1, bias=False)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self._losses, self._becomes = losses, becomes

    def batches(self, epoch: int) -> list[float]:
        return self._losses

    def step(self, batch: float, position: Position) -> torch.Tensor:
        with torch.no_grad():
            self.model.weight.fill_(self._becomes)
        return torch.tensor(batch)

    def size(self, batch: float) -> int:
        return 1

    def validation_loss(self) -> float | None:
        return None

    def load_optimizer(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)


def trained(task: Task, tmp_path) -> Any:
    return train(task, epochs=1, seed=0, seed_each="epoch", checkpoint=tmp_path / "state.pt")


def test_the_loss_of_an_epoch_is_the_mean_of_its_steps(tmp_path):
    (row,) = trained(Task([1.0, 3.0]), tmp_path).losses
    assert row == {"step": 2, "loss": (1.0 + 3.0) / 2}


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_an_error_and_leaves_no_checkpoint(tmp_path, loss):
    with pytest.raises(InputError, match=r"diverged: the loss is (nan|inf) after step 2"):
        trained(Task([1.0, loss]), tmp_path)
    assert not (tmp_path / "state.pt").exists()


def test_weights_that_the_last_step_has_spoiled_are_an_error(tmp_path):
    with pytest.raises(InputError, match="diverged: a weight is infinite or no number"):
        trained(Task([1.0], becomes=math.nan), tmp_path)
