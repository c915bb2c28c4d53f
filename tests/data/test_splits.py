from __future__ import annotations

import random
from dataclasses import dataclass

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from gloss.data.splits import SplitRule, held_out, split_histories

RULES: tuple[SplitRule, ...] = ("paper", "leave-one-out")

Log = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Parts:
    """The splits as plain values: seen items, or history and target, by user."""

    train: Log
    validation: dict[str, tuple[tuple[str, ...], str]]
    test: dict[str, tuple[tuple[str, ...], str]]


def split(log: Log, rule: SplitRule) -> Parts:
    frame = pl.LazyFrame(
        {
            "user": list(log),
            "items": list(map(list, log.values())),
            "held_out": held_out(len(log), rule),
        },
        schema={"user": pl.String, "items": pl.List(pl.String), "held_out": pl.Boolean},
    )
    splits = split_histories(frame, rule)
    train, validation, test = (
        {user: (tuple(before), target) for user, before, target in part.collect().iter_rows()}
        for part in (splits.train, splits.validation, splits.test)
    )
    seen = {user: (*before, target) for user, (before, target) in train.items()}
    return Parts(seen, validation, test)


def test_none_trains_everybody_on_everything_and_asks_nobody():
    log = {"u": ("a", "b", "c", "d"), "v": ("a",), "w": ("b", "b")}
    parts = split(log, "none")
    assert (parts.train, parts.validation, parts.test) == (log, {}, {})


def crowd(count: int, *items: str) -> Log:
    return {f"u{n:03}": items for n in range(count)}


@st.composite
def histories(draw: st.DrawFn) -> Log:
    """Histories whose items are all different, so that a leak can be told from a repeat."""
    lengths = draw(st.lists(st.integers(1, 6), max_size=60))
    return {
        f"u{user:02}": tuple(f"u{user}i{n}" for n in range(length))
        for user, length in enumerate(lengths)
    }


def test_target_is_the_last_item_and_history_all_before() -> None:
    for rule in RULES:
        assert split({"u": ("a", "b", "c", "d")}, rule).test == {"u": (("a", "b", "c"), "d")}


def test_two_items_are_too_few_to_be_asked() -> None:
    for rule in RULES:
        parts = split({"u": ("a", "b")}, rule)
        assert (parts.test, parts.validation) == ({}, {})


def test_leave_one_out_validates_everybody_on_the_second_last() -> None:
    parts = split({"u": ("a", "b", "c", "d")}, "leave-one-out")
    assert parts.validation == {"u": (("a", "b"), "c")}
    assert parts.train == {"u": ("a", "b")}


def test_paper_trains_up_to_the_second_last_but_for_validation_users() -> None:
    parts = split(crowd(20, "a", "b", "c", "d"), "paper")
    ((user, asked),) = parts.validation.items()
    assert asked == (("a", "b"), "c")
    assert parts.train.pop(user) == ("a", "b")
    assert set(parts.train.values()) == {("a", "b", "c")}
    assert len(parts.train) == 20 - 1


def test_paper_trains_on_one_of_two_items_and_nothing_of_one() -> None:
    assert split({"u": ("a", "b"), "v": ("a",)}, "paper").train == {"u": ("a",)}


def test_validation_users_are_those_of_the_published_draw() -> None:
    users = sorted(f"u{n}" for n in range(1010))
    published = random.Random(42).sample(users, int(0.05 * 1010))
    drawn = held_out(1010, "paper")
    assert {user for user, is_drawn in zip(users, drawn, strict=True) if is_drawn} == set(published)
    assert drawn.sum() == 50


@given(histories())
def test_leave_one_out_never_trains_on_a_target(log: Log) -> None:
    parts = split(log, "leave-one-out")
    seen = {item for items in parts.train.values() for item in items}
    asked = [*parts.validation.values(), *parts.test.values()]
    assert seen.isdisjoint(target for _, target in asked)


@given(histories())
def test_no_rule_trains_on_a_test_target_or_a_validation_target(log: Log) -> None:
    parts = split(log, "paper")
    seen = {item for items in parts.train.values() for item in items}
    asked = [*parts.validation.values(), *parts.test.values()]
    assert seen.isdisjoint(target for _, target in asked)


@given(histories())
def test_every_part_is_a_beginning_of_its_history(log: Log) -> None:
    for rule in RULES:
        parts = split(log, rule)
        for user, items in parts.train.items():
            assert items == log[user][: len(items)]
        for user, (before, target) in [*parts.validation.items(), *parts.test.items()]:
            assert (*before, target) == log[user][: len(before) + 1]


@given(histories())
def test_users_keep_their_order(log: Log) -> None:
    for rule in RULES:
        parts = split(log, rule)
        for part in (parts.train, parts.validation, parts.test):
            assert list(part) == [user for user in log if user in part]
