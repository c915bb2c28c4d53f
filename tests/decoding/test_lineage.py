from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from gloss.decoding.lineage import ancestor_mask, descendant_bits, extended


def tree(beams: int, parents: list[list[int]]) -> torch.Tensor:
    """The ancestors of one user's beams, of whom parents[s] are those at step s."""
    ancestors = torch.empty(1, beams, 0, dtype=torch.long)
    for of_step in parents:
        ancestors = extended(ancestors, torch.tensor([of_step]))
    return ancestors


@st.composite
def trees(draw, most_beams: int = 6) -> tuple[int, list[list[int]]]:
    beams = draw(st.integers(1, most_beams))
    of_step = st.lists(st.integers(0, beams - 1), min_size=beams, max_size=beams)
    return beams, draw(st.lists(of_step, min_size=1, max_size=6))


@given(trees())
def test_ancestors_are_found_by_walking_from_parent_to_parent(drawn):
    beams, parents = drawn
    ancestors = tree(beams, parents)[0]
    for beam in range(beams):
        ancestor = beam
        for step in reversed(range(len(parents))):
            assert int(ancestors[beam, step]) == ancestor
            ancestor = parents[step][ancestor]


@given(trees())
def test_a_beam_attends_to_one_entry_of_each_step_and_to_its_own(drawn):
    beams, parents = drawn
    mask = ancestor_mask(tree(beams, parents)).view(beams, len(parents), beams)
    assert mask.sum(2).eq(1).all()
    assert mask[:, -1].equal(torch.eye(beams, dtype=torch.bool))


@given(trees(most_beams=64))
def test_bits_say_what_the_mask_says(drawn):
    beams, parents = drawn
    ancestors = tree(beams, parents)
    bits = descendant_bits(ancestors)  # (1, steps * beams)
    read = (bits[:, None, :] >> torch.arange(beams)[:, None]) & 1
    assert read.bool().equal(ancestor_mask(ancestors))
