"""LightGBM's text format, read as data before LightGBM reads it.

Its reader believes every number: a child that is its own parent never ends, one that is not there
ends the process. So the text is taken apart here, everything in it must be what our trees are made
of, and LightGBM is given a text that is put together anew. Numbers stay as they are written, so
that no bit of a score changes. Knows text; needs no lightgbm.

    tree                             one line a field of all trees, then

    Tree=0                           of each tree, with two leaves in this one:
    num_leaves=2
    split_feature=3                  of each inner node, 0 the root
    left_child=-1                    a node from 0 on, or a leaf: -1 is leaf 0, -2 leaf 1
    leaf_value=-0.5 0.25             of each leaf
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

from gloss.artifacts.content import require

__all__ = ["checked_trees"]

_END = "end of trees"
_MAX_TREES, _MAX_LEAVES, _MAX_FEATURES = 10_000, 4096, 10_000
_NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,24})?(e[+-]?\d{1,3})?")
_FIXED = {"version": "v4", "num_class": "1", "num_tree_per_iteration": "1", "label_index": "0"}
_HEAD = (*_FIXED, "max_feature_idx", "objective", "feature_names", "feature_infos", "tree_sizes")
_PER_SPLIT = ("split_feature", "split_gain", "threshold", "decision_type")
_CHILDREN = ("left_child", "right_child")
_PER_LEAF = ("leaf_value", "leaf_weight", "leaf_count")
_PER_NODE = ("internal_value", "internal_weight", "internal_count")
_TREE = (
    *("num_leaves", "num_cat", *_PER_SPLIT, *_CHILDREN, *_PER_LEAF, *_PER_NODE),
    *("is_linear", "shrinkage"),
)
_COUNTS = ("split_feature", "decision_type", *_CHILDREN, "leaf_count", "internal_count")
_DECISIONS = {0, 2, 4, 6, 8, 10}
"""No categories (bit 0); where what is missing goes (bit 1), and what counts as missing."""


def checked_trees(text: str, file: str) -> str:
    """The trees of a text, put together anew without what predicts nothing; ValueError, naming the
    file, unless all of it is as LightGBM writes trees of numbers."""
    trees, _, _ = text.partition(f"\n{_END}\n")
    head, *bodies = re.split(r"\n+Tree=\d+\n", trees)
    require(1 <= len(bodies) <= _MAX_TREES, file, f"it holds {len(bodies)} trees")
    fields = _fields(head.split("\n"), file, first="tree")
    require(tuple(fields) == _HEAD, file, "its head is not that of trees")
    require(all(fields[n] == each for n, each in _FIXED.items()), file, "it is of another version")
    require(fields["objective"] == "rank_xendcg", file, "its trees were fitted to something else")
    features = _whole(fields["max_feature_idx"], file) + 1
    require(0 < features <= _MAX_FEATURES, file, "its features are none")
    checked = [f"Tree={n}\n{_tree(body, file, features)}\n\n\n" for n, body in enumerate(bodies)]
    return "".join([*_head(features, checked), *checked, f"{_END}\n"])


def _head(features: int, trees: Sequence[str]) -> Iterator[str]:
    """Names and ranges of features predict nothing: these are as good as any."""
    names = " ".join(f"Column_{number}" for number in range(features))
    infos = " ".join(["[0:1]"] * features)
    yield "tree\n"
    yield from (f"{name}={value}\n" for name, value in _FIXED.items())
    yield f"max_feature_idx={features - 1}\nobjective=rank_xendcg\n"
    yield f"feature_names={names}\nfeature_infos={infos}\n"
    yield f"tree_sizes={' '.join(str(len(tree)) for tree in trees)}\n\n"


def _tree(body: str, file: str, features: int) -> str:
    """One tree as text, checked."""
    fields = _fields(body.rstrip("\n").split("\n"), file)
    require(tuple(fields) == _TREE, file, "a tree lacks something, or has too much")
    leaves = _whole(fields["num_leaves"], file)
    require(1 <= leaves <= _MAX_LEAVES, file, f"a tree has {leaves} leaves")
    require(fields["num_cat"] == fields["is_linear"] == "0", file, "a tree is of another kind")
    require(_NUMBER.fullmatch(fields["shrinkage"]) is not None, file, "a number in it is none")
    lengths = dict.fromkeys((*_PER_SPLIT, *_CHILDREN, *_PER_NODE), leaves - 1)
    # A tree of a single leaf is written without the weight and the count of that leaf.
    lengths |= dict.fromkeys(_PER_LEAF, leaves)
    for name, length in lengths.items():
        found = fields[name].split()
        is_single = leaves == 1 and name != "leaf_value" and not found
        require(len(found) == length or is_single, file, f"a tree has {len(found)} of {name}")
        # A split between what is missing and all the rest is at infinity.
        numbers = found if name != "threshold" else [n for n in found if n not in ("inf", "-inf")]
        odd = next((each for each in numbers if not _NUMBER.fullmatch(each)), None)
        require(odd is None, file, f"{odd!r:.40} of {name} is no number")
        require(all(abs(float(each)) < 1e308 for each in numbers), file, f"{name} is infinite")
        require(name not in _COUNTS or all("." not in n for n in found), file, f"{name} is none")
    split_on = [_whole(each, file) for each in fields["split_feature"].split()]
    require(all(0 <= each < features for each in split_on), file, "a feature is not there")
    decisions = {_whole(each, file) for each in fields["decision_type"].split()}
    require(decisions <= _DECISIONS, file, "a decision is of another kind")
    left, right = (_wholes(fields[name], file) for name in _CHILDREN)
    _require_a_tree(left, right, file)
    return "\n".join(f"{name}={value}" for name, value in fields.items())


def _require_a_tree(left: Sequence[int], right: Sequence[int], file: str) -> None:
    """Raise ValueError unless every node but the root is the child of one node before it, and every
    leaf the child of one node: then there are no circles, and nothing is left out."""
    nodes, leaves = len(left), len(left) + 1
    children = [*left, *right]
    expected = [*range(-leaves, 0), *range(1, nodes)] if nodes else []
    comes_later = all(
        child < 0 or child > parent for of in (left, right) for parent, child in enumerate(of)
    )
    require(sorted(children) == expected and comes_later, file, "a tree is none")


def _fields(lines: Sequence[str], file: str, *, first: str = "") -> dict[str, str]:
    if first:
        require(lines[0] == first, file, "it does not begin as trees do")
        lines = lines[1:]
    named = [line.partition("=") for line in takewhile(bool, lines)]
    fields = {name: value for name, _, value in named}
    require(len(fields) == len(lines), file, "a line is there twice, or is empty")
    return fields


def _wholes(text: str, file: str) -> list[int]:
    return [_whole(each, file) for each in text.split()]


def _whole(text: str, file: str) -> int:
    require(re.fullmatch(r"-?\d{1,9}", text) is not None, file, f"{text!r:.40} is no whole number")
    return int(text)
