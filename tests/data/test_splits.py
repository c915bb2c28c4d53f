from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from gloss.data.catalogue import ItemId
from gloss.data.histories import Example, History, UserId
from gloss.data.splits import SplitRule, split_histories, validation_users

RULES: tuple[SplitRule, ...] = ("paper", "leave-one-out")


def history(user: str, *items: str) -> History:
    return History(UserId(user), tuple(map(ItemId, items)))


def crowd(count: int, *items: str) -> list[History]:
    return [history(f"u{n:03}", *items) for n in range(count)]


@st.composite
def histories(draw: st.DrawFn) -> list[History]:
    """Histories whose items are all different, so that a leak can be told from a repeat."""
    lengths = draw(st.lists(st.integers(1, 6), max_size=60))
    return [
        history(f"u{user}", *(f"u{user}i{n}" for n in range(length)))
        for user, length in enumerate(lengths)
    ]


def test_target_is_the_last_item_and_history_all_before() -> None:
    for rule in RULES:
        splits = split_histories([history("u", "a", "b", "c", "d")], rule)
        assert splits.test == (Example(UserId("u"), ("a", "b", "c"), ItemId("d")),)


def test_two_items_are_too_few_to_be_asked() -> None:
    for rule in RULES:
        splits = split_histories([history("u", "a", "b")], rule)
        assert (splits.test, splits.validation) == ((), ())


def test_leave_one_out_validates_everybody_on_the_second_last() -> None:
    splits = split_histories([history("u", "a", "b", "c", "d")], "leave-one-out")
    assert splits.validation == (Example(UserId("u"), ("a", "b"), ItemId("c")),)
    assert splits.train == (history("u", "a", "b"),)


def test_paper_trains_up_to_the_second_last_but_for_validation_users() -> None:
    users = crowd(20, "a", "b", "c", "d")
    splits = split_histories(users, "paper")
    (asked,) = splits.validation
    assert (asked.history, asked.target) == (("a", "b"), "c")
    seen = {user.user: user.items for user in splits.train}
    assert seen.pop(asked.user) == ("a", "b")
    assert set(seen.values()) == {("a", "b", "c")}
    assert len(seen) == 19


def test_paper_trains_on_one_of_two_items_and_nothing_of_one() -> None:
    splits = split_histories([history("u", "a", "b"), history("v", "a")], "paper")
    assert splits.train == (history("u", "a"),)


def test_validation_users_are_those_of_the_published_draw() -> None:
    users = [UserId(f"u{n}") for n in range(1010)]
    published = random.Random(42).sample(sorted(users), int(0.05 * 1010))
    assert validation_users(users) == set(published)
    assert len(published) == 50


@given(histories(), st.randoms(use_true_random=False))
def test_validation_users_do_not_depend_on_the_order_of_users(
    log: list[History], chance: random.Random
) -> None:
    users = [entry.user for entry in log]
    shuffled = chance.sample(users, len(users))
    assert validation_users(users) == validation_users(shuffled)


@given(histories())
def test_leave_one_out_never_trains_on_a_target(log: list[History]) -> None:
    splits = split_histories(log, "leave-one-out")
    seen = {item for entry in splits.train for item in entry.items}
    assert seen.isdisjoint(example.target for example in splits.validation + splits.test)


@given(histories())
def test_no_rule_trains_on_a_test_target_or_a_validation_target(log: list[History]) -> None:
    splits = split_histories(log, "paper")
    seen = {item for entry in splits.train for item in entry.items}
    assert seen.isdisjoint(example.target for example in splits.validation + splits.test)


@given(histories())
def test_every_part_is_a_beginning_of_its_history(log: list[History]) -> None:
    whole = {entry.user: entry.items for entry in log}
    for rule in RULES:
        splits = split_histories(log, rule)
        for entry in splits.train:
            assert entry.items == whole[entry.user][: len(entry.items)]
        for asked in splits.validation + splits.test:
            shown = (*asked.history, asked.target)
            assert shown == whole[asked.user][: len(shown)]


@given(histories())
def test_users_keep_their_order(log: list[History]) -> None:
    order = {entry.user: place for place, entry in enumerate(log)}
    for rule in RULES:
        splits = split_histories(log, rule)
        for part in (splits.train, splits.validation, splits.test):
            places = [order[entry.user] for entry in part]
            assert places == sorted(places)
