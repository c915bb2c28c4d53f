import pytest
from hypothesis import given
from hypothesis import strategies as st

from gloss.data.generations import Generation, Query
from gloss.errors import ConfigError
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.retrieval.grounding import FUSIONS, fuse, ground, rank, ungrounded
from gloss.retrieval.retriever import Hit


def hits(**scores: float) -> tuple[Hit, ...]:
    """Hits on items named by a letter; a letter's row is its place in the alphabet."""
    found = [Hit(item, ord(item) - ord("a"), score) for item, score in scores.items()]
    return tuple(sorted(found, key=lambda hit: (-hit.score, hit.row)))


def asked(*logprobs: float | None, history=()) -> Generation:
    queries = tuple(Query(f"q{beam}", beam, logprob) for beam, logprob in enumerate(logprobs))
    return Generation("u", history, queries)


def order(rule: str, *hits_per_query, **options) -> str:
    generation = asked(*[None] * len(hits_per_query))
    ranking = fuse(generation, hits_per_query, rule, **{"length": 99, **options})
    return "".join(entry.item for entry in ranking.entries)


def test_best_score_compares_the_scores_of_all_queries():
    assert order("best-score", hits(a=1, b=3), hits(a=4, c=2)) == "abc"


def test_best_score_credits_the_query_of_the_best_score_and_the_earlier_beam_on_a_tie():
    generation = asked(None, None)
    ranking = fuse(generation, [hits(a=1, b=2), hits(a=3, b=2)], "best-score", length=9)
    assert ranking.entries == (RankedItem("a", 3, "q1"), RankedItem("b", 2, "q0"))


def test_equal_scores_go_to_the_earlier_beam_then_to_the_earlier_row():
    assert order("best-score", hits(c=1), hits(b=1, a=1)) == "cab"


def test_last_lets_a_later_query_lower_a_score():
    assert order("best-score", hits(a=5, b=3), hits(a=1)) == "ab"
    assert order("last", hits(a=5, b=3), hits(a=1)) == "ba"


def test_beam_order_takes_every_best_hit_before_any_second_best():
    assert order("beam-order", hits(a=9, b=8), hits(c=2, d=1)) == "acbd"


def test_variants_of_one_title_do_not_fill_a_list_by_beam_order():
    assert order("beam-order", hits(a=9, b=9, c=9), hits(d=5, e=4)) == "adbec"


def test_beam_order_scores_by_log_probability_or_else_by_beam():
    known = fuse(asked(-0.5, -2.0), [hits(a=9), hits(b=9)], "beam-order", length=9)
    assert known.entries == (RankedItem("a", -0.5, "q0"), RankedItem("b", -2.0, "q1"))
    unknown = fuse(asked(None, None), [hits(a=9), hits(b=9)], "beam-order", length=9)
    assert [entry.score for entry in unknown.entries] == [0.0, -1.0]


def test_reciprocal_ranks_add_up_and_go_to_the_query_that_ranks_highest():
    ranking = fuse(asked(None, None), [hits(a=9, b=8), hits(b=7)], "reciprocal-rank", length=9)
    assert ranking.entries == (
        RankedItem("b", 1 / 62 + 1 / 61, "q1"),
        RankedItem("a", 1 / 61, "q0"),
    )


def test_excluded_items_leave_room_for_the_next():
    assert order("beam-order", hits(a=9, b=8, c=7), exclude={"a"}, length=2) == "bc"


def test_queries_that_found_nothing_leave_an_empty_list():
    generation = asked(None, None)
    assert fuse(generation, [(), ()], "best-score", length=5) == Ranking("u", ())
    assert fuse(asked(), [], "reciprocal-rank", length=5) == Ranking("u", ())


def test_the_beam_counts_not_the_place_of_the_query():
    generation = Generation("u", (), (Query("later", 1), Query("first", 0)))
    ranking = fuse(generation, [hits(a=1), hits(b=1)], "beam-order", length=9)
    assert [entry.query for entry in ranking.entries] == ["first", "later"]


def test_an_unknown_rule_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean best-score"):
        order("best_score", hits(a=1))


letters = st.sampled_from("abcdef")
found = st.dictionaries(letters, st.sampled_from([1.0, 2.0, 3.0]), max_size=5)


@given(st.lists(found, max_size=4), st.sampled_from(sorted(FUSIONS)))
def test_every_rule_lists_everything_that_was_found_once(scores, rule):
    listed = order(rule, *[hits(**each) for each in scores])
    assert sorted(listed) == sorted({item for each in scores for item in each})


@given(st.lists(found, max_size=4), st.sampled_from(sorted(FUSIONS)), st.integers(0, 4))
def test_a_shorter_list_is_the_beginning_of_a_longer_one(scores, rule, length):
    per_query = [hits(**each) for each in scores]
    assert order(rule, *per_query, length=length) == order(rule, *per_query)[:length]


def as_written(rule: str, found: list[tuple[float, int, int, int, str]]) -> list[str]:
    """The rules as their descriptions say, on (score, beam, depth, row, item) of all hits."""
    if rule == "beam-order":
        places = [sum(each[1] == other[1] for other in found[:n]) for n, each in enumerate(found)]
        ordered = sorted(zip(places, found, strict=True), key=lambda pair: (pair[0], pair[1][1]))
        listed = [each[-1] for _, each in ordered]
        return list(dict.fromkeys(listed))
    placed: dict[str, tuple[float, int, int]] = {}
    for item in {each[-1] for each in found}:
        of_item = [each for each in found if each[-1] == item]
        if rule == "best-score":
            score, beam, _, row, _ = min(of_item, key=lambda f: (-f[0], f[1]))
        elif rule == "last":
            score, beam, _, row, _ = max(of_item, key=lambda f: f[1])
        else:
            _, beam, _, row, _ = min(of_item, key=lambda f: (f[2], f[1]))
            score = sum(1 / (61 + depth) for _, _, depth, _, _ in of_item)
        placed[item] = (-score, beam, row)
    return sorted(placed, key=placed.__getitem__)


@given(st.lists(found, max_size=4), st.sampled_from(sorted(FUSIONS)), st.sets(letters))
def test_every_rule_orders_as_it_is_written(scores, rule, exclude):
    per_query = [hits(**each) for each in scores]
    everything = [
        (
            hit.score,
            beam,
            sorted({h.score for h in found}, reverse=True).index(hit.score),
            *hit[1::-1],
        )
        for beam, found in enumerate(per_query)
        for hit in found
    ]
    wanted = [item for item in as_written(rule, everything) if item not in exclude]
    assert list(order(rule, *per_query, exclude=exclude)) == wanted


class Letters:
    """A retriever that finds the letters of a text, the first best; it notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def search(self, texts, k):
        self.asked.append(list(texts))
        return [hits(**{c: 9.0 - n for n, c in enumerate(text)})[:k] for text in texts]


def people() -> list[Generation]:
    return [
        Generation("u", ("a",), (Query("ab", 0), Query("cd", 1))),
        Generation("v", (), (Query("cd", 0), Query("", 1))),
        Generation("w", (), (Query("", 0),)),
    ]


def test_every_distinct_text_is_searched_once_in_one_call():
    letters = Letters()
    rank(people(), letters, rule="best-score", per_query=1, length=5, exclude_seen=False)
    assert letters.asked == [["ab", "cd", ""]]


def test_ranking_keeps_users_in_order_and_those_without_an_item():
    ranked = rank(people(), Letters(), rule="beam-order", per_query=1, length=5, exclude_seen=False)
    assert [(r.user, [e.item for e in r.entries]) for r in ranked] == [
        ("u", ["a", "c"]),
        ("v", ["c"]),
        ("w", []),
    ]


def test_seen_items_are_left_out_when_asked_for():
    ranked = rank(people(), Letters(), rule="beam-order", per_query=2, length=5, exclude_seen=True)
    assert [entry.item for entry in ranked[0].entries] == ["c", "b", "d"]


def test_queries_that_found_nothing_are_counted():
    assert ungrounded(people(), ground(people(), Letters(), per_query=1)) == 2
