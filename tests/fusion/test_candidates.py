"""Candidates of many users at once are those of each user alone, found entry by entry."""

from __future__ import annotations

import numpy as np
import pytest

from gloss.errors import InputError
from gloss.fusion import candidates as module
from gloss.fusion.candidates import UNLISTED, aligned, candidates
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.table import RankingTable

USERS, LISTS, ITEMS = 23, 4, 30


def drawn(seed: int) -> list[list[Ranking]]:
    """Lists of up to eight of thirty items, some of them empty, scores often equal."""
    rng = np.random.default_rng(seed)

    def ranking(user: int, name: int) -> Ranking:
        held = rng.permutation(ITEMS)[: rng.integers(0, 9)]
        scores = sorted(rng.integers(-3, 4, len(held)).tolist(), reverse=True)
        pairs = zip(held.tolist(), scores, strict=True)
        entries = (RankedItem(f"i{i}", float(s), f"q{i} {name}", f"b{i} {name}") for i, s in pairs)
        return Ranking(f"u{user}", tuple(entries))

    return [[ranking(user, name) for user in range(USERS)] for name in range(LISTS)]


def tables(rankers) -> list[RankingTable]:
    return [RankingTable.of(lists) for lists in rankers]


def one_by_one(lists: list[Ranking]) -> tuple[list[str], list[list[float]], list[list[int]]]:
    """A user's items, their scores and their ranks, as the module's head words them."""
    items = list(dict.fromkeys(entry.item for each in lists for entry in each.entries))
    scores, ranks = [], []
    for item in items:
        found = [{e.item: (e.score, n) for n, e in enumerate(each.entries)} for each in lists]
        missing = [min((e.score for e in each.entries), default=0.0) for each in lists]
        both = [f.get(item, (lowest, UNLISTED)) for f, lowest in zip(found, missing, strict=True)]
        scores.append([score for score, _ in both])
        ranks.append([place for _, place in both])
    return items, scores, ranks


@pytest.fixture(params=[1, 7, 256])
def together(request, monkeypatch) -> int:
    monkeypatch.setattr(module, "_BATCH_USERS", request.param)
    return request.param


@pytest.mark.parametrize("seed", range(3))
def test_items_scores_and_ranks_are_those_of_each_user_alone(seed, together):
    rankers, row = drawn(seed), 0
    for each in candidates(tables(rankers)):
        for user in range(len(each.lists[0])):
            mine = each.users == user
            items, scores, ranks = one_by_one([lists[row + user] for lists in rankers])
            assert [item for item, kept in zip(each.items, mine, strict=True) if kept] == items
            assert each.scores[mine].tolist() == scores
            assert each.ranks[mine].tolist() == ranks
        row += len(each.lists[0])
    assert row == USERS


@pytest.mark.parametrize("seed", range(3))
def test_lists_are_ranked_by_score_then_order_with_the_reason_of_what_lifts_most(seed, together):
    rankers, row = drawn(seed), 0
    for each in candidates(tables(rankers)):
        totals = each.scores.sum(axis=1)
        for user, ranking in enumerate(each.ranked(totals, each.scores, length=5)):
            lists = [lists[row + user] for lists in rankers]
            items, scores, ranks = one_by_one(lists)
            order = sorted(range(len(items)), key=lambda n, s=scores: -sum(s[n]))[:5]
            told = []
            for n in order:
                pairs = zip(scores[n], ranks[n], strict=True)
                added = [score if rank != UNLISTED else -np.inf for score, rank in pairs]
                most = int(np.argmax(added))
                reason = lists[most].entries[ranks[n][most]]
                told.append(reason._replace(score=sum(scores[n])))
            assert ranking == Ranking(lists[0].user, tuple(told))
        row += len(each.lists[0])


def test_what_is_said_of_a_user_stands_beside_all_of_the_users_items(together):
    for each in candidates(tables(drawn(0))):
        lowest = each.per_user(np.minimum, each.scores)
        for user in set(each.users.tolist()):
            mine = each.users == user
            assert (lowest[mine] == each.scores[mine].min(axis=0)).all()


def test_a_target_is_marked_where_it_is_a_candidate_of_its_own_user(together):
    rankers = drawn(0)
    targets = [f"i{n}" for n in range(USERS)]
    for each, of_users in aligned(candidates(tables(rankers)), targets):
        expected = [
            item == of_users[user] for item, user in zip(each.items, each.users, strict=True)
        ]
        assert each.bought(of_users).tolist() == expected


def test_what_belongs_to_users_must_be_of_as_many(together):
    for count in (USERS + 1, USERS - 1):
        with pytest.raises(ValueError, match=f"candidates of {USERS} users, {count} histories"):
            list(aligned(candidates(tables(drawn(0))), [None] * count))


def test_lists_of_other_users_are_refused(together):
    rankers = drawn(0)
    rankers[1][20] = Ranking("somebody", ())
    with pytest.raises(InputError, match="not of the same users: u20"):
        next(candidates(tables(rankers)))
    with pytest.raises(InputError, match="different numbers"):
        next(candidates(tables([rankers[0], rankers[1][:-1]])))


def test_an_item_that_a_list_does_not_hold_has_its_lowest_score_and_no_rank():
    one = RankingTable.of([Ranking("u", (RankedItem("a", 3.0), RankedItem("b", -1.0)))])
    two = RankingTable.of([Ranking("u", (RankedItem("c", 0.5),))])
    (each,) = candidates([one, two])
    assert each.items == ["a", "b", "c"]
    assert each.scores.tolist() == [[3.0, 0.5], [-1.0, 0.5], [-1.0, 0.5]]
    assert each.listed.tolist() == [[True, False], [True, False], [False, True]]
    assert each.ranks.tolist() == [[0, -1], [1, -1], [-1, 0]]
