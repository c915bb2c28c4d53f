"""What people bought after which list: an experiment's log, as one value of each user.

A purchase follows a list if the item stands in it and was bought within a window after it was
shown. Two metrics:

    conversion    1 for a user with a purchase that follows one of their lists, else 0
    hits@k        the share of a user's lists that a purchase of one of their first k items follows

Users are what is divided among recommenders, so that users are what is compared. In a shadow
experiment everybody has lists of both: what they bought of A's list, which they saw, is held
against what they would have been shown by B, which favours A. Knows logs; knows no service.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gloss.errors import ConfigError, InputError, did_you_mean
from gloss.evaluation.groups import GroupComparison, compare_groups, compare_pairs
from gloss.evaluation.metrics import Floats
from gloss.serving.state.exposures import Exposure, UserLog

__all__ = ["METRICS", "LogComparison", "compare_log"]

METRICS = ("conversion", "hits@10")
_DAY = 24 * 60 * 60 * 1000  # milliseconds


@dataclass(frozen=True, slots=True)
class LogComparison:
    """Two recommenders by what followed their lists.

    names: A and B. lists: how many each has in the log. in_both: users who were shown lists of
    both, and are left out. is_shadow: whether B's lists were made for the log alone.
    """

    names: tuple[str, str]
    lists: tuple[int, int]
    in_both: int
    is_shadow: bool
    comparisons: tuple[GroupComparison, ...]


@dataclass(frozen=True, slots=True)
class _User:
    """What a user bought, and their lists of A and of B."""

    purchases: Sequence[tuple[str, int]]
    lists: tuple[Sequence[Exposure], Sequence[Exposure]]

    @property
    def has_both(self) -> bool:
        return bool(self.lists[0] and self.lists[1])


def compare_log(
    logs: Iterable[UserLog],
    names: Sequence[str] = (),
    *,
    metrics: Sequence[str] = METRICS,
    days: float = 7.0,
    resamples: int = 10_000,
    seed: int = 0,
) -> LogComparison:
    """Two recommenders of a log. names: of both; none where the log holds no others.

    days: the window. Raises ConfigError for an unknown metric or name, InputError where one of the
    two has no user.
    """
    for metric in metrics:
        _most(metric)
    logs = list(logs)
    both = _both(logs, names)
    is_shadow = any(not each.is_shown for log in logs for each in log.exposures)
    users = [_in_pairs(_user(log, both)) if is_shadow else _user(log, both) for log in logs]
    kept = [user for user in users if user.has_both == is_shadow]
    groups = [[user for user in kept if user.lists[arm]] for arm in (0, 1)]
    compare = compare_pairs if is_shadow else compare_groups
    window = int(days * _DAY)
    comparisons = tuple(
        compare(
            metric,
            *(_values(metric, groups[arm], arm, window) for arm in (0, 1)),
            resamples=resamples,
            seed=seed,
        )
        for metric in metrics
    )
    first, second = (sum(len(user.lists[arm]) for user in groups[arm]) for arm in (0, 1))
    in_both = 0 if is_shadow else sum(user.has_both for user in users)
    return LogComparison(both, (first, second), in_both, is_shadow, comparisons)


def _both(logs: Sequence[UserLog], names: Sequence[str]) -> tuple[str, str]:
    """The names of A and B: as given, or the only two of the log."""
    known = sorted({each.name for log in logs for each in log.exposures})
    for name in names:
        if name not in known:
            raise ConfigError(f"the log has no recommender {name!r} ({did_you_mean(name, known)})")
    chosen = names or known
    if len(chosen) != 2 or chosen[0] == chosen[1]:
        listed = ", ".join(map(repr, known)) or "none"
        raise InputError(f"two recommenders are compared, and the log has {listed}: name two")
    return chosen[0], chosen[1]


def _user(log: UserLog, names: tuple[str, str]) -> _User:
    first, second = ([each for each in log.exposures if each.name == name] for name in names)
    return _User(log.purchases, (first, second))


def _in_pairs(user: _User) -> _User:
    """The lists of requests for which both were made."""
    first, second = ({each.request: each for each in lists} for lists in user.lists)
    requests = [request for request in first if request in second]
    return _User(user.purchases, ([first[r] for r in requests], [second[r] for r in requests]))


def _values(metric: str, users: Sequence[_User], arm: int, window: int) -> Floats:
    """float64 (users,)."""
    most = _most(metric)
    values = np.zeros(len(users))
    for row, user in enumerate(users):
        followed = [_is_followed(each, user.purchases, most, window) for each in user.lists[arm]]
        values[row] = any(followed) if most is None else sum(followed) / len(followed)
    return values


def _is_followed(
    exposure: Exposure, purchases: Sequence[tuple[str, int]], most: int | None, window: int
) -> bool:
    """Whether one of the first items was bought after the list was shown."""
    items = set(exposure.items[:most])
    return any(item in items and 0 <= at - exposure.at <= window for item, at in purchases)


def _most(metric: str) -> int | None:
    """How many items of a list count; None for all."""
    if metric == "conversion":
        return None
    name, _, cutoff = metric.partition("@")
    if name != "hits" or not cutoff.isdecimal() or int(cutoff) < 1:
        raise ConfigError(f"of a log there are conversion and hits@k, not {metric!r}")
    return int(cutoff)
