"""Whether a file of others has the examples of the split that it is said to be of.

The research repository's generations say whom they are for (`reviewer_id`), what was known
(`seen_asins`) and what was bought next (`asin`). Measured on another split, a perfect file scores 0
and nobody notices; so every answer is held against the data set.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

from gloss.choices import SplitName
from gloss.data.catalogue import ItemId
from gloss.data.dataset import Dataset
from gloss.data.generations import Generation
from gloss.data.histories import Example, UserId
from gloss.errors import InputError

__all__ = ["RESEARCH_EXAMPLES", "example_lines", "examples_in", "require_split"]

RESEARCH_EXAMPLES = "examples.jsonl"
"""The file of a ranking that keeps what a research file says, to be held against a data set."""


def example_lines(generations: Iterable[Generation]) -> str:
    """What the generations say about their users, without what was written."""
    return "".join(
        json.dumps({"user": each.user, "history": each.history, "target": each.target}) + "\n"
        for each in generations
    )


def examples_in(text: str) -> tuple[Generation, ...]:
    """What `example_lines` wrote."""
    rows = map(json.loads, text.splitlines())
    return tuple(Generation(row["user"], tuple(row["history"]), (), row["target"]) for row in rows)


def require_split(
    generations: Sequence[Generation], data: Dataset, split: SplitName, *, what: str
) -> None:
    """Raise InputError unless these are examples of that split, the target as it says.

    A history may be shorter than the data set's, never of other items. Some of the users are
    enough. what: what the generations are called in the message, which names the split that fits,
    if one does.
    """
    complaint = _complaint(generations, data.examples(split), split)
    if complaint is None:
        return
    for other in get_args(SplitName):
        if other != split and _complaint(generations, data.examples(other), other) is None:
            raise InputError(
                f"{what} is of the {other} split, not of the {split} split of {data.path}: "
                f"{complaint}. Rank it with --split {other}"
            )
    raise InputError(
        f"{what} is not of the {split} split of {data.path}: {complaint}. It was made from other "
        "data, or from data that were split otherwise"
    )


def _complaint(
    generations: Sequence[Generation], examples: Sequence[Example], split: SplitName
) -> str | None:
    """What speaks against a split, with one user as an example; None if nothing does."""
    asked = {example.user: example for example in examples}
    strangers = [each.user for each in generations if each.user not in asked]
    if strangers:
        count = f"{len(strangers):,} of its {len(generations):,} users"
        return f"{count} are not in it ({_few(strangers)})"
    wrong = [each for each in generations if each.target not in (None, asked[each.user].target)]
    if wrong:
        example = asked[wrong[0].user]
        return (
            f"asin is not what was bought next there for {len(wrong):,} of {len(generations):,} "
            f"users (user {example.user}: {wrong[0].target}, in the {split} split {example.target})"
        )
    return _on_histories(generations, asked)


def _on_histories(generations: Sequence[Generation], asked: Mapping[UserId, Example]) -> str | None:
    unknown = [
        (each.user, item)
        for each in generations
        for item in sorted(set(each.history).difference(asked[each.user].history))
    ]
    if not unknown:
        return None
    user, item = unknown[0]
    return f"seen_asins has items that were not bought before (user {user}: {item})"


def _few(names: Sequence[UserId | ItemId]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
