"""The stage `run ranker`: everybody's list by a ranker that needs no language model.

Needs torch where the ranker does, and imports it there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from gloss.artifacts import Artifact, Draft, Recipe
from gloss.config import Settings
from gloss.data.dataset import SplitName
from gloss.data.histories import History
from gloss.progress import Progress, further, silent
from gloss.rankers.ranker import RankerSpec, RankRequest
from gloss.rankers.sources import RankerSources
from gloss.rankings import files as rankings
from gloss.rankings.records import RankerRankingConfig
from gloss.rankings.table import RankingTable

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
    progress: Progress = silent,
) -> Artifact:
    """Rank for the users of a split: the ranking at `out`.

    settings: a ranker that is trained keeps those that it was trained with.
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
        ranker = spec.build(sources, settings)
        examples = sources.dataset.examples(split, limit=limit_users)

        def lists() -> Iterator[RankingTable]:
            batch_users = max(1, _BATCH_ENTRIES // length)
            for first in range(0, len(examples), batch_users):
                batch = examples[first : first + batch_users]
                histories = [History(each.user, each.history) for each in batch]
                told = further(progress, first, len(examples) - first - len(batch))
                yield ranker.rank(RankRequest(histories, length, exclude_seen, told))

        rankings.write_in_parts(draft, lists())

    recipe = Recipe(rankings.KIND, config.to_json(), sources.inputs(spec, settings))
    return recipe.make(out, fill)
