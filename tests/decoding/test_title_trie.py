from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from gloss.decoding.title_trie import TitleTrie

END, VOCABULARY = 0, 6
TITLES = st.lists(st.lists(st.integers(1, VOCABULARY - 1), max_size=5), min_size=1, max_size=12)


def paths_of(titles: list[list[int]]) -> set[tuple[int, ...]]:
    """Every beginning of a title with its end, the empty one too."""
    closed = [(*title, END) for title in titles]
    return {path[:length] for path in closed for length in range(len(path) + 1)}


def walk(trie: TitleTrie, path: tuple[int, ...]) -> int:
    node = torch.tensor([0])
    for token in path:
        node = trie.step(node, torch.tensor([token]))
    return int(node)


def allowed(trie: TitleTrie, node: int) -> list[int]:
    rows, tokens = trie.allowed(torch.tensor([node]))
    assert rows.eq(0).all()
    return tokens.tolist()


def build(titles: list[list[int]]) -> TitleTrie:
    return TitleTrie.build(titles, end=END, vocabulary=VOCABULARY)


@given(TITLES)
def test_what_may_follow_is_what_continues_a_beginning(titles):
    trie, paths = build(titles), paths_of(titles)
    for path in paths:
        follows = [token for token in range(VOCABULARY) if (*path, token) in paths]
        assert allowed(trie, walk(trie, path)) == follows


@given(TITLES, st.lists(st.integers(0, VOCABULARY - 1), max_size=6))
def test_what_no_title_begins_with_is_dead_for_ever(titles, path):
    trie, paths = build(titles), paths_of(titles)
    assert (walk(trie, tuple(path)) == trie.dead) == (tuple(path) not in paths)
    assert allowed(trie, trie.dead) == []
    assert all(walk(trie, (*path, token)) == trie.dead for path in [(END,)] for token in range(6))


@given(TITLES)
def test_different_beginnings_are_different_nodes(titles):
    paths = paths_of(titles)
    trie = build(titles)
    assert {walk(trie, path) for path in paths} == set(range(len(paths)))
    assert trie.dead == len(paths)


@given(TITLES)
def test_the_depth_is_that_of_the_longest_title_with_its_end(titles):
    assert build(titles).depth == max(map(len, titles)) + 1


@given(TITLES)
def test_order_and_repeats_change_nothing(titles):
    one, other = build(titles), build([*reversed(titles), titles[0]])
    assert one.starts.tolist() == other.starts.tolist()
    assert one.tokens.tolist() == other.tokens.tolist()


@given(TITLES, st.lists(st.integers(0, 40), max_size=6))
def test_rows_are_answered_together_as_alone(titles, places):
    trie = build(titles)
    nodes = torch.tensor([place % (trie.dead + 1) for place in places], dtype=torch.long)
    rows, tokens = trie.allowed(nodes)
    found = [tokens[rows == row].tolist() for row in range(len(nodes))]
    assert found == [allowed(trie, int(node)) for node in nodes]


@given(TITLES, st.integers(1, 5))
def test_steps_take_any_shape(titles, beams):
    trie = build(titles)
    nodes = torch.arange(trie.dead + 1)[:, None].expand(-1, beams)
    tokens = torch.arange(beams).expand_as(nodes)
    stepped = trie.step(nodes, tokens)
    assert stepped.shape == nodes.shape
    assert stepped.flatten().tolist() == [
        int(trie.step(node, token))
        for node, token in zip(nodes.flatten(), tokens.flatten(), strict=True)
    ]


def test_a_title_that_begins_another_can_end_or_go_on():
    trie = build([[1, 2], [1, 2, 3]])
    assert allowed(trie, walk(trie, (1, 2))) == [END, 3]


def test_an_empty_title_is_its_end_alone():
    trie = build([[]])
    assert allowed(trie, 0) == [END]
    assert trie.depth == 1


def test_moving_it_to_a_device_changes_nothing():
    trie = build([[1, 2], [3]])
    moved = trie.to("cpu")
    assert moved.tokens.tolist() == trie.tokens.tolist()
    assert (moved.dead, moved.depth, moved.vocabulary) == (trie.dead, trie.depth, trie.vocabulary)
