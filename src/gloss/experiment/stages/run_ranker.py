"""The stage `run ranker`: everybody's list by a ranker that needs no language model.

Needs torch where the ranker does, and imports it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from gloss.artifacts import Artifact, Draft, Recipe
from gloss.config import Settings
from gloss.data.dataset import SplitName
from gloss.data.histories import Example, History
from gloss.progress import Progress, silent
from gloss.rankers.ranker import Ranker, RankerSpec, RankRequest
from gloss.rankers.sources import RankerSources
from gloss.rankings import files as rankings
from gloss.rankings.records import RankerRankingConfig
from gloss.rankings.table import RankingTable
from gloss.shards import HERE, Workers, in_order, shards_of

__all__ = ["run_ranker"]

S = TypeVar("S", bound=Settings)

_BATCH_ENTRIES = 1 << 20
"""Entries of lists that are held at once: 20 for each of 50,000 users."""


def run_ranker(
    spec: RankerSpec[S],
    sources: RankerSources,
    out: Path,
    *,
    settings: S,
    length: int,
    exclude_seen: bool,
    split: SplitName = "test",
    limit_users: int | None = None,
    workers: Workers = HERE,
    progress: Progress = silent,
) -> Artifact:
    """Rank for the users of a split: the ranking at `out`.

    settings: a ranker that is trained keeps those that it was trained with. workers: who does it;
    the bytes do not depend on how many they are.
    """
    settings = sources.settings_of(spec, settings)
    searches = "index" in spec.needs(settings)
    config = RankerRankingConfig(
        ranker=spec.name,
        split=split,
        titles=sources.title_style,
        length=length,
        exclude_seen=exclude_seen,
        limit_users=limit_users,
        settings=settings.model_dump(mode="json"),
        index=sources.index_settings.model_dump(mode="json") if searches else None,
    )

    def fill(draft: Draft) -> None:
        listing = _Listing(spec, sources, settings, length, exclude_seen, split, limit_users)
        users = range(len(listing.examples))
        shards = shards_of(users, max(1, _BATCH_ENTRIES // length))
        lists = in_order(workers.map(listing, shards, progress=progress))
        rankings.write_in_parts(draft, lists)

    recipe = Recipe(rankings.KIND, config.to_json(), sources.inputs(spec, settings))
    return recipe.make(out, fill)


@dataclass
class _Listing(Generic[S]):
    """What is done with a shard of users, who are their rows in the split: their lists. The ranker
    is built where it is needed first, and left behind when this is sent to other workers."""

    spec: RankerSpec[S]
    sources: RankerSources
    settings: S
    length: int
    exclude_seen: bool
    split: SplitName
    limit_users: int | None

    @cached_property
    def examples(self) -> Sequence[Example]:
        """Everybody of the split."""
        return self.sources.dataset.examples(self.split, limit=self.limit_users)

    @cached_property
    def _ranker(self) -> Ranker:
        return self.spec.build(self.sources, self.settings)

    def __call__(self, users: Sequence[int], progress: Progress, /) -> RankingTable:
        batch = self.examples[users[0] : users[-1] + 1]
        histories = [History(each.user, each.history) for each in batch]
        request = RankRequest(histories, self.length, self.exclude_seen, progress)
        return self._ranker.rank(request)

    def __getstate__(self) -> dict[str, Any]:
        return {name: vars(self)[name] for name in self.__dataclass_fields__}
