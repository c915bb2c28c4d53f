"""A bundle's answers to many histories, in shards: here, or by other workers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from gloss.progress import Progress, silent
from gloss.recommender.recommender import Recommendations, Recommender
from gloss.recommender.rules import Rules
from gloss.shards import HERE, Workers, in_order, shards_of

__all__ = ["recommend_many"]

_SHARD_HISTORIES = 512


def recommend_many(
    bundle: Path,
    histories: Sequence[Sequence[str]],
    k: int,
    *,
    rules: Rules,
    wish: str | None = None,
    workers: Workers = HERE,
    progress: Progress = silent,
) -> list[Recommendations]:
    """What `Recommender.recommend` answers, in the order of the histories; the bundle is opened by
    everyone who answers. Raises what opening and answering raise."""
    answering = _Answering(bundle, k, rules, wish)
    shards = shards_of(histories, _SHARD_HISTORIES)
    return [*chain.from_iterable(in_order(workers.map(answering, shards, progress=progress)))]


class _Answering:
    """What is done with a shard of histories. The bundle is opened where it is needed first, and
    left behind when this is sent to other workers."""

    def __init__(self, bundle: Path, k: int, rules: Rules, wish: str | None) -> None:
        self._bundle, self._k, self._rules, self._wish = bundle, k, rules, wish

    @cached_property
    def _recommender(self) -> Recommender:
        return Recommender.open(self._bundle)

    def __call__(
        self, histories: Sequence[Sequence[str]], _progress: Progress, /
    ) -> list[Recommendations]:
        return self._recommender.recommend(histories, self._k, rules=self._rules, wish=self._wish)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_recommender"}
