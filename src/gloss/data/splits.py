"""Who is trained on, who is validated, who is tested: the rules, exactly.

In the first two, the test target is a user's last item and its history is all before it, for users
with at least three items. The rules differ in what the model may have seen:

- "paper" (GLoSS, arXiv 2506.01910, research repository): 5 % of the users are validation users,
  whose second-last item is the validation target; they train up to the third-last item. Everyone
  else trains up to *and including* the second-last item.
- "leave-one-out" (SASRec, TIGER and most others): nobody trains on the second-last item; it is
  everybody's validation target.
- "none": everybody trains on everything, and nobody is asked. For a recommender that is served.

Histories are a frame of user, items (a list) and held_out; what is made of them is lazy, so that
ten million users pass through without being held.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from gloss.choices import SplitRule

__all__ = ["MIN_ITEMS", "SplitRule", "Splits", "held_out", "split_histories"]

MIN_ITEMS = 3
_SEED = 42
_VALIDATION_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Splits:
    """What is trained on and what is asked, each with columns user, history, target; users in the
    order of the histories. In `train` the target is the last item that a model may see."""

    train: pl.LazyFrame
    validation: pl.LazyFrame
    test: pl.LazyFrame


def split_histories(histories: pl.LazyFrame, rule: SplitRule) -> Splits:
    """Split histories (user, items, held_out) by the rules of this module's head."""
    if rule == "none":
        nobody = histories.filter(pl.lit(value=False)).select("user", "items")
        everything = histories.select("user", "items").filter(pl.col("items").list.len() > 0)
        return Splits(*(_with_last_as_target(frame) for frame in (everything, nobody, nobody)))
    seen = pl.when("held_out").then(_but_last(2)).otherwise(_but_last(1))
    trained = histories.select("user", items=seen).filter(pl.col("items").list.len() > 0)
    asked = histories.filter(pl.col("items").list.len() >= MIN_ITEMS)
    shortened = asked.filter("held_out").select("user", items=_but_last(1))
    return Splits(*(_with_last_as_target(frame) for frame in (trained, shortened, asked)))


def _but_last(count: int) -> pl.Expr:
    """The items without the last few; none if there are fewer."""
    items = pl.col("items")
    left = (items.list.len().cast(pl.Int64) - count).clip(lower_bound=0)
    return items.list.head(left)


def _with_last_as_target(frame: pl.LazyFrame) -> pl.LazyFrame:
    return frame.select("user", history=_but_last(1), target=pl.col("items").list.last())


def held_out(count: int, rule: SplitRule) -> npt.NDArray[np.bool_]:
    """Which of `count` users, sorted by id, are validation users.

    By the paper's rule, the 5 % that the published system draws from the sorted ids. Users with
    fewer than three items are drawn too (Toys: 970 drawn, 969 of them asked).
    """
    if rule == "leave-one-out":
        return np.ones(count, np.bool_)
    drawn = np.zeros(count, np.bool_)
    if rule == "none":
        return drawn
    drawn[_sample(range(count), int(_VALIDATION_SHARE * count))] = True
    return drawn


def _sample(places: Sequence[int], size: int) -> list[int]:
    """Python's sample, which draws places: of the places as it would of the ids at them."""
    return random.Random(_SEED).sample(places, size)
