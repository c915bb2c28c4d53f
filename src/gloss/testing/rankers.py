"""What every ranker keeps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isclose

import numpy as np

from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import History, UserId
from gloss.rankers.ranker import Ranker, RankRequest
from gloss.rankings.ranking import Ranking

__all__ = ["RankerContract"]


class RankerContract:
    """The fixtures: `ranker`; `catalogue`, the items that it ranks, in its order; `histories`, at
    least two, of items that it knows and none of them empty."""

    ranks_without_history = False
    """Whether a user without a purchase has a list."""
    lists_bought_alone = False
    """Whether lists hold nothing but the user's own purchases."""
    score_noise = 0.0
    """What a score may change by when others are ranked for in the same request."""

    def test_everybody_has_a_list_in_the_order_of_the_request(
        self, ranker: Ranker, histories: Sequence[History]
    ) -> None:
        for asked in (histories, histories[::-1], histories[:1]):
            ranked = ranker.rank(RankRequest(asked, length=5, exclude_seen=True))
            assert [ranking.user for ranking in ranked] == [history.user for history in asked]

    def test_somebody_has_a_list_with_an_item_in_it(
        self, ranker: Ranker, histories: Sequence[History]
    ) -> None:
        exclude_seen = not self.lists_bought_alone
        ranked = ranker.rank(RankRequest(histories, length=5, exclude_seen=exclude_seen))
        assert any(ranking.entries for ranking in ranked)

    def test_items_are_distinct_and_of_the_catalogue(
        self, ranker: Ranker, histories: Sequence[History], catalogue: Catalogue
    ) -> None:
        for exclude_seen in (True, False):
            for items in _items(_all(ranker, histories, catalogue, exclude_seen=exclude_seen)):
                assert len(set(items)) == len(items)
                assert all(item in catalogue for item in items)

    def test_the_best_comes_first_and_the_order_stays(
        self, ranker: Ranker, histories: Sequence[History], catalogue: Catalogue
    ) -> None:
        ranked = _all(ranker, histories, catalogue, exclude_seen=False)
        for ranking in ranked:
            scores = [entry.score for entry in ranking.entries]
            assert scores == sorted(scores, reverse=True)
        again = _all(ranker, histories, catalogue, exclude_seen=False)
        assert _items(again) == _items(ranked)

    def test_a_shorter_list_is_the_beginning_of_a_longer_one(
        self, ranker: Ranker, histories: Sequence[History]
    ) -> None:
        lists = [
            _items(ranker.rank(RankRequest(histories, length, exclude_seen=True)))
            for length in range(1, 8)
        ]
        for length, (shorter, longer) in enumerate(pairwise(lists), 1):
            assert [items[:length] for items in longer] == shorter

    def test_leaving_out_what_was_bought_changes_nothing_else(
        self, ranker: Ranker, histories: Sequence[History], catalogue: Catalogue
    ) -> None:
        kept = _items(_all(ranker, histories, catalogue, exclude_seen=False))
        left = _items(_all(ranker, histories, catalogue, exclude_seen=True))
        for history, with_seen, without in zip(histories, kept, left, strict=True):
            assert without == [item for item in with_seen if item not in history.items]

    def test_a_list_holds_what_is_allowed_as_it_stood_without_the_rest(
        self, ranker: Ranker, histories: Sequence[History], catalogue: Catalogue
    ) -> None:
        allowed = np.arange(len(catalogue)) % 3 != 0
        whole = _items(_all(ranker, histories, catalogue, exclude_seen=True))
        request = RankRequest(histories, len(catalogue), exclude_seen=True, allowed=allowed)
        for every, listed in zip(whole, _items(ranker.rank(request)), strict=True):
            assert listed == [item for item in every if allowed[catalogue.row(item)]]

    def test_the_same_request_has_the_same_answer(
        self, ranker: Ranker, histories: Sequence[History]
    ) -> None:
        request = RankRequest(histories, length=5, exclude_seen=True)
        assert ranker.rank(request) == ranker.rank(request)

    def test_a_list_does_not_depend_on_who_else_is_asked_for(
        self, ranker: Ranker, histories: Sequence[History], catalogue: Catalogue
    ) -> None:
        together = _all(ranker, histories, catalogue, exclude_seen=True)
        for history, ranking in zip(histories, together, strict=True):
            (alone,) = _all(ranker, [history], catalogue, exclude_seen=True)
            scores = {entry.item: entry.score for entry in ranking.entries}
            assert scores.keys() == {entry.item for entry in alone.entries}
            for entry in alone.entries:
                assert isclose(entry.score, scores[entry.item], rel_tol=0, abs_tol=self.score_noise)

    def test_a_reason_is_one_of_the_purchases(
        self, ranker: Ranker, histories: Sequence[History], catalogue: Catalogue
    ) -> None:
        ranked = _all(ranker, histories, catalogue, exclude_seen=True)
        for history, ranking in zip(histories, ranked, strict=True):
            reasons = {entry.because for entry in ranking.entries}
            assert reasons <= {None, *history.items}

    def test_a_user_without_a_purchase_changes_nothing_for_others(
        self, ranker: Ranker, histories: Sequence[History], catalogue: Catalogue
    ) -> None:
        newcomer = History(UserId("newcomer"), ())
        ranked = _all(ranker, [newcomer, *histories], catalogue, exclude_seen=True)
        assert bool(ranked[0].entries) == self.ranks_without_history
        others = _all(ranker, histories, catalogue, exclude_seen=True)
        assert [set(items) for items in _items(ranked[1:])] == [
            set(items) for items in _items(others)
        ]

    def test_nobody_has_no_lists(self, ranker: Ranker) -> None:
        assert ranker.rank(RankRequest((), length=5, exclude_seen=True)) == ()


def _all(
    ranker: Ranker, histories: Sequence[History], catalogue: Catalogue, *, exclude_seen: bool
) -> Sequence[Ranking]:
    """Lists of everything that the ranker finds."""
    return ranker.rank(RankRequest(histories, len(catalogue), exclude_seen))


def _items(rankings: Sequence[Ranking]) -> list[list[ItemId]]:
    return [[entry.item for entry in ranking.entries] for ranking in rankings]
