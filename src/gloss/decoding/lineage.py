"""Who descends from whom: the table of ancestors of a tree of beams, and what is made of it.

At every step each beam continues one beam of the step before, its parent. With three beams whose
parents are 0, 0 and 2 at the second step, the ancestors after two steps are

    step        0   1
    beam 0      0   0
    beam 1      0   1
    beam 2      2   2

Keys and values of beam tokens are cached step by step and never reordered: the entry of beam a at
step s stands at `s * beams + a` after the prompt, and a beam attends to the entries of its
ancestors only.
"""

from __future__ import annotations

import torch

__all__ = ["ancestor_mask", "descendant_bits", "extended"]


def extended(ancestors: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
    """The table after one more step: each beam's is its parent's, then the beam itself.

    ancestors: (users, beams, steps); parents: (users, beams). Returns (users, beams, steps + 1).

    >>> extended(torch.tensor([[[0], [1], [2]]]), torch.tensor([[0, 0, 2]])).tolist()
    [[[0, 0], [0, 1], [2, 2]]]
    """
    users, beams, steps = ancestors.shape
    of_parents = ancestors.gather(1, parents[:, :, None].expand(-1, -1, steps))
    own = torch.arange(beams, device=ancestors.device).expand(users, -1)
    return torch.cat([of_parents, own[:, :, None]], dim=2)


def ancestor_mask(ancestors: torch.Tensor) -> torch.Tensor:
    """Which entries after the prompt each beam attends to.

    ancestors: (users, beams, steps). Returns (users, beams, steps * beams) booleans.

    >>> ancestor_mask(torch.tensor([[[0, 0], [0, 1], [2, 2]]])).int().tolist()
    [[[1, 0, 0, 1, 0, 0], [1, 0, 0, 0, 1, 0], [0, 0, 1, 0, 0, 1]]]
    """
    beam = torch.arange(ancestors.shape[1], device=ancestors.device)
    return (ancestors[..., None] == beam).flatten(2)


def descendant_bits(ancestors: torch.Tensor) -> torch.Tensor:
    """The same mask as one number an entry: bit b says that beam b attends to it.

    ancestors: (users, beams, steps), at most 64 beams. Returns (users, steps * beams) int64.
    Beams 0 and 1 descend from beam 0 of the first step, whose number has the bits 1 + 2:

    >>> descendant_bits(torch.tensor([[[0, 0], [0, 1], [2, 2]]])).tolist()
    [[3, 0, 4, 1, 2, 4]]
    """
    beam = torch.arange(ancestors.shape[1], device=ancestors.device)
    descends = ancestor_mask(ancestors)  # (users, beams, steps * beams)
    # No two summands share a bit, so that the sum is their "or".
    return (descends << beam[:, None]).sum(1)
