from __future__ import annotations

from math import log2

import pytest

from gloss.data.catalogue import Catalogue, Item
from gloss.data.generations import Generation, Query
from gloss.data.histories import Example, History
from gloss.data.history_rows import HistoryRows
from gloss.evaluation.beams import beam_figures
from gloss.evaluation.beyond import ListFigures, self_information, title_figures
from gloss.rankings.ranking import RankedItem, Ranking

CATALOGUE = Catalogue(Item(item, f"Title {item}") for item in "abcd")
TRAIN = [History("u", ("a", "b")), History("v", ("a", "a")), History("w", ("a",)), History("x", ())]


def ranking(user: str, items: str, beams: str = "") -> Ranking:
    titles = [f"Title {beam}" for beam in beams] or [None] * len(items)
    entries = (RankedItem(i, 0.0, title) for i, title in zip(items, titles, strict=True))
    return Ranking(user, tuple(entries))


def generation(user: str, written: str) -> Generation:
    return Generation(user, (), tuple(Query(f"Title {w}", beam) for beam, w in enumerate(written)))


def list_figures(cutoffs, *, train=TRAIN) -> ListFigures:
    information = self_information(HistoryRows.of(train, CATALOGUE), CATALOGUE)
    return ListFigures(cutoffs, catalogue=CATALOGUE, information=information)


def figures_of(lists, cutoffs) -> dict[str, float]:
    figures = list_figures(cutoffs)
    figures.add(lists)
    return figures.figures()


def test_coverage_counts_items_once_and_within_the_cutoff():
    found = figures_of([ranking("u", "abc"), ranking("v", "ba"), ranking("w", "")], (1, 2, 3))
    assert [found[f"coverage@{k}"] for k in (1, 2, 3)] == [2 / 4, 2 / 4, 3 / 4]
    assert found["users without a list"] == 1


def test_lists_that_come_one_by_one_have_the_figures_of_all_together():
    lists = [ranking("u", "abc"), ranking("v", "ba"), ranking("w", ""), ranking("x", "zd")]
    one_by_one = list_figures((1, 2))
    for each in lists:
        one_by_one.add([each])
    assert one_by_one.figures() == pytest.approx(figures_of(lists, (1, 2)), abs=1e-15)


def test_a_rare_item_tells_more_and_an_unbought_one_as_much_as_one_bought_once():
    assert self_information(HistoryRows.of(TRAIN, CATALOGUE), CATALOGUE).tolist() == [
        log2(4 / 3),
        log2(4),
        log2(4),
        log2(4),
    ]


def test_novelty_is_averaged_over_items_then_over_users_with_a_list():
    found = figures_of([ranking("u", "ab"), ranking("v", "b"), ranking("w", "")], (1, 2))
    assert found["novelty@1"] == pytest.approx((log2(4 / 3) + log2(4)) / 2)
    assert found["novelty@2"] == pytest.approx(((log2(4 / 3) + log2(4)) / 2 + log2(4)) / 2)


def test_items_that_the_catalogue_lacks_count_for_neither():
    assert figures_of([ranking("u", "zb"), ranking("v", "z")], (1, 2)) == {
        "coverage@1": 0.0,
        "coverage@2": 1 / 4,
        "novelty@1": 0.0,
        "novelty@2": log2(4),
        "users without a list": 0,
    }


def test_without_lists_there_is_no_novelty_and_no_coverage():
    expected = {"coverage@5": 0.0, "novelty@5": 0.0, "users without a list": 0}
    assert figures_of([], (5,)) == list_figures((5,), train=[]).figures() == expected


def test_titles_that_exist_and_titles_that_repeat():
    found = title_figures([generation("u", "aaz"), generation("v", "b")], set(CATALOGUE.titles))
    assert found.titles == 4
    assert found.in_catalogue == 3 / 4
    assert found.repeated == 1 / 4
    assert found.per_user == (2 + 1) / 2


def test_nothing_written_is_not_divided_by():
    found = title_figures([generation("u", "")], set(CATALOGUE.titles))
    assert (found.titles, found.in_catalogue, found.repeated, found.per_user) == (0, 0, 0, 0)


def beams(generations, rankings, targets: dict[str, str]):
    examples = [Example(user, (), target) for user, target in targets.items()]
    return beam_figures(generations, rankings, examples, catalogue=CATALOGUE)


def test_a_hit_is_credited_to_the_beam_that_wrote_its_title():
    first, second = beams(
        [generation("u", "ab"), generation("v", "zc"), generation("w", "a")],
        [ranking("u", "ab", "ab"), ranking("v", "dc", "zc"), ranking("w", "a", "a")],
        {"u": "b", "v": "c", "w": "d"},
    )
    assert (first.wrote, second.wrote) == (3 / 3, 2 / 3)
    assert (first.hit, second.hit) == (0 / 3, 2 / 3)
    assert (first.exact, second.exact) == (0 / 3, 2 / 3)
    assert (first.so_far, second.so_far) == (0 / 3, 2 / 3)
    assert (first.entries, second.entries) == (3 / 5, 2 / 5)


def test_of_two_beams_with_one_title_the_first_has_the_credit():
    first, second = beams([generation("u", "aa")], [ranking("u", "a", "a")], {"u": "a"})
    assert (first.hit, second.hit) == (1, 0)
    assert (first.exact, second.exact) == (1, 1)
    assert second.so_far == 1


def test_a_hit_that_no_title_put_there_is_no_beams():
    (beam,) = beams([generation("u", "z")], [ranking("u", "a")], {"u": "a"})
    assert (beam.hit, beam.entries) == (0, 0)


def test_without_generations_there_are_no_beams():
    assert beams([], [], {}) == ()
