from __future__ import annotations

import pytest

from gloss.data.generations import Generation, Query
from gloss.prompts import Prompt
from gloss.testing.generators import GeneratorContract, ReplayGenerator


class TestReplayGenerator(GeneratorContract):
    @pytest.fixture
    def prompts(self):
        return [Prompt("u", ("b1",), "A\n"), Prompt("v", (), "")]

    @pytest.fixture
    def generator(self):
        queries = (Query("Kite", 0, -0.1), Query("Ball", 1, -2.0))
        return ReplayGenerator([Generation("v", (), queries[:1]), Generation("u", (), queries)])


def test_a_replay_has_nothing_for_other_users():
    (written,) = ReplayGenerator([]).generate([Prompt("w", ("b1",), "")])
    assert written == Generation("w", ("b1",), ())


class Mute:
    """A generator that keeps nothing of the contract: it answers one prompt only."""

    def generate(self, prompts, *, progress=None):
        return [Generation(prompts[0].user, prompts[0].history, ())]


@pytest.mark.parametrize(
    "test",
    [
        "test_one_generation_a_prompt_in_their_order",
        "test_beams_count_from_zero_and_the_likeliest_comes_first",
        "test_a_generation_does_not_depend_on_the_other_prompts",
        "test_a_user_may_come_twice",
    ],
)
def test_the_contract_refuses_a_generator_that_breaks_it(test):
    prompts = [Prompt("u", (), "A\n"), Prompt("v", (), "B\n")]
    with pytest.raises((AssertionError, ValueError)):
        getattr(GeneratorContract(), test)(Mute(), prompts)
