"""Who is trained on, who is validated, who is tested: the two rules, exactly.

In both, the test target is a user's last item and its history is all before it, for users with at
least three items. The rules differ in what the model may have seen:

- "paper" (GLoSS, arXiv 2506.01910, research repository): 5 % of the users are validation users,
  whose second-last item is the validation target; they train up to the third-last item. Everyone
  else trains up to *and including* the second-last item.
- "leave-one-out" (SASRec, TIGER and most others): nobody trains on the second-last item; it is
  everybody's validation target.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gloss.data.histories import Example, History, UserId

__all__ = ["SplitRule", "Splits", "split_histories", "validation_users"]

SplitRule = Literal["paper", "leave-one-out"]

MIN_ITEMS = 3
_SEED = 42
_VALIDATION_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Splits:
    """What is trained on and what is asked; users in the order of the histories."""

    train: tuple[History, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]


def split_histories(histories: Sequence[History], rule: SplitRule) -> Splits:
    """Split histories by one of the two rules of this module's head."""
    held_out = (
        validation_users([history.user for history in histories])
        if rule == "paper"
        else {history.user for history in histories}
    )
    long_enough = [history for history in histories if len(history.items) >= MIN_ITEMS]
    return Splits(
        train=tuple(
            seen
            for history in histories
            if (seen := _seen(history, history.user in held_out)).items
        ),
        validation=tuple(_ask(history, -2) for history in long_enough if history.user in held_out),
        test=tuple(_ask(history, -1) for history in long_enough),
    )


def validation_users(users: Sequence[UserId]) -> set[UserId]:
    """The 5 % of users that the published system validates on, drawn from the sorted ids.

    Users with fewer than three items are drawn too (Toys: 970 drawn, 969 of them asked).
    """
    chosen = random.Random(_SEED).sample(sorted(users), int(_VALIDATION_SHARE * len(users)))
    return set(chosen)


def _seen(history: History, held_out: bool) -> History:
    return History(history.user, history.items[: -2 if held_out else -1])


def _ask(history: History, place: int) -> Example:
    return Example(history.user, history.items[:place], history.items[place])
