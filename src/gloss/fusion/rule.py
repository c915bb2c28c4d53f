"""The seam of fusion: how several rankers' lists become one.

A rule is one file that ends with its `FusionRule`, and one line in the tuple of rules.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from gloss.data.catalogue import ItemId
from gloss.data.histories import History
from gloss.errors import nothing_to_install
from gloss.rankings.table import RankingTable

__all__ = ["NEW_ITEMS", "FittedFusion", "FusionRequest", "FusionRule", "NewItems"]

NEW_ITEMS = 0.5
"""The share of items that a fit meets as new ones, unless set (docs/evaluation.md)."""


@dataclass(frozen=True, slots=True)
class NewItems:
    """How a fit meets items that nobody has bought yet, where it is to (fusion/new_items.py).

    share: of the items that are taken for new ones; listed_by: for each ranker, whether it lists
    such items.
    """

    share: float
    listed_by: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class FusionRequest:
    """Lists of the same users, to become one list a user.

    lists: for each ranker everybody's list, in the order of the histories. histories: the users'
    purchases. times_bought: how often each item was bought by those who were trained on; an item
    that is not there never was. exclude_seen: whether the lists leave out what was bought.
    new_items: what a rule that can tell new items from others learns it from; None: nothing.
    """

    lists: Sequence[RankingTable]
    histories: Sequence[History]
    times_bought: Mapping[ItemId, int]
    exclude_seen: bool = True
    new_items: NewItems | None = None

    def part(self, start: int, end: int) -> FusionRequest:
        """Users `start` to `end`, without the last."""
        lists = [table.part(start, end - start) for table in self.lists]
        return replace(self, lists=lists, histories=self.histories[start:end])

    def without(self, start: int, end: int) -> FusionRequest:
        """All other users, in their order."""
        head, tail = self.part(0, start), self.part(end, len(self.histories))
        pairs = zip(head.lists, tail.lists, strict=True)
        lists = [RankingTable.joined(pair) for pair in pairs]
        return replace(self, lists=lists, histories=[*head.histories, *tail.histories])


class FittedFusion(Protocol):
    """A rule with what it has learned of these rankers."""

    def fuse(self, request: FusionRequest, *, length: int) -> RankingTable:
        """Everybody's one list of at most `length` items.

        Its items are those of the lists, each once, with the query and the purchase of one of the
        lists that hold it. Equal scores stand in the order in which the lists, first to last, name
        the items. Raises ConfigError for another number of rankers than it was fitted on,
        InputError when the lists are not of the same users.
        """
        ...

    def summary(self, rankers: Sequence[str]) -> dict[str, Any]:
        """What the manifest of a fused ranking says of the fit, by ranker."""
        ...

    def files(self) -> Mapping[str, str]:
        """Text files, by name, from which the rule's `load` reads it again, to the last bit."""
        ...


def needs_nobody(rankers: int) -> int:
    """For rules that fit nothing."""
    return 0


@dataclass(frozen=True, slots=True)
class FusionRule:
    """What the rest of GLoSS knows of a rule.

    name: in commands, settings and manifests. label: in reports. features: what the rule sees of an
    item in each list, and besides; purchase_features: what it sees of the user's own purchases of
    it, where lists keep what was bought. A fused ranking is made again when they change. fit: on
    validation users and what each bought next, an item of the catalogue; raises InputError when
    nobody's is in a list. load: from a folder that holds what `files` gave. needs_validation:
    whether anything is fitted; otherwise `fit` reads nothing. min_users: how many users with an
    answer in a list it takes to fit so many rankers. meets_new_items: whether its fit
    reads the request's `new_items`. require_installed: raises
    MissingExtraError when an extra is missing, before any work is done.
    """

    name: str
    label: str
    features: tuple[str, ...]
    fit: Callable[[FusionRequest, Sequence[ItemId]], FittedFusion]
    load: Callable[[Path], FittedFusion]
    needs_validation: bool = True
    purchase_features: tuple[str, ...] = ()
    min_users: Callable[[int], int] = needs_nobody
    meets_new_items: bool = False
    require_installed: Callable[[], None] = nothing_to_install

    def features_of(self, *, exclude_seen: bool) -> tuple[str, ...]:
        """What the rule sees of an item in lists that leave out what was bought, or keep it."""
        return self.features if exclude_seen else (*self.features, *self.purchase_features)
