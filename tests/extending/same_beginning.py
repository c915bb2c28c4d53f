"""Items whose titles begin as that of the last purchase does: often the maker, or the series."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field, PositiveInt

from gloss.config import Settings
from gloss.data.catalogue import Catalogue
from gloss.data.histories import History
from gloss.rankers.ranker import RankerParts, RankerSpec, RankRequest
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.table import RankingTable

__all__ = ["SPEC", "SameBeginning"]


class SameBeginningSettings(Settings):
    """How titles are compared."""

    words: PositiveInt = Field(3, description="Words that are compared, from the first one on.")


@dataclass(frozen=True)
class SameBeginning:
    """The score is the number of equal words at the beginning; without one an item is left out."""

    catalogue: Catalogue
    words: int

    def rank(self, request: RankRequest) -> RankingTable:
        return RankingTable.of([self._ranking(history, request) for history in request.histories])

    def _ranking(self, history: History, request: RankRequest) -> Ranking:
        if not history.items:
            return Ranking(history.user, ())
        last, excluded = history.items[-1], request.excluded(history)
        title = self.catalogue.title(last)
        entries = [
            RankedItem(item.id, float(score), because=last)
            for row, item in enumerate(self.catalogue)
            if request.may_list(row)
            and item.id not in excluded
            and (score := self._score(title, item.title))
        ]
        entries.sort(key=lambda entry: -entry.score)  # stable: equal scores keep their order
        return Ranking(history.user, tuple(entries[: request.length]))

    def _score(self, title: str, other: str) -> int:
        pairs = list(zip(title.lower().split(), other.lower().split(), strict=False))
        equal = [one == another for one, another in pairs[: self.words]]
        return [*equal, False].index(False)


def build(parts: RankerParts, settings: SameBeginningSettings) -> SameBeginning:
    return SameBeginning(parts.catalogue, settings.words)


SPEC = RankerSpec(
    name="same-beginning", label="Same beginning", settings=SameBeginningSettings, build=build
)
