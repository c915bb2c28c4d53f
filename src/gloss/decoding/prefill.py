"""How prompts are read: what all begin with once, the rest packed into groups."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

__all__ = ["common_prefix", "prefill_groups"]

_SHORTEST_PREFIX = 16
"""Fewer tokens than these cost less to read in every prompt than in a pass of their own."""


def common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with, leaving each at least one; 0 if hardly any.

    >>> instruction = list(range(20))
    >>> common_prefix([[*instruction, 31, 32], [*instruction, 31]])
    20
    >>> common_prefix([[1, 2, 3], [1, 2, 4]])
    0
    """
    shortest = min(map(len, prompts)) - 1
    first = prompts[0]
    same = takewhile(
        lambda index: all(prompt[index] == first[index] for prompt in prompts), range(shortest)
    )
    length = sum(1 for _ in same)
    return length if length >= _SHORTEST_PREFIX else 0


def prefill_groups(
    users: Sequence[int], lengths: Sequence[int], *, most_tokens: int
) -> list[list[int]]:
    """Users in order, cut where the sum of a group's lengths would exceed `most_tokens`.

    lengths: of the users, aligned. A user who is longer alone is a group of one.

    >>> prefill_groups([10, 11, 12, 13, 14], [4, 3, 9, 1, 1], most_tokens=8)
    [[10, 11], [12], [13, 14]]
    """
    groups: list[list[int]] = []
    room = 0
    for user, length in zip(users, lengths, strict=True):
        room -= length
        if not groups or room < 0:
            groups.append([])
            room = most_tokens - length
        groups[-1].append(user)
    return groups
