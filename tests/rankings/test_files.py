import polars as pl

from gloss.artifacts import Recipe
from gloss.rankings.files import KIND, load_rankings, write_rankings
from gloss.rankings.ranking import RankedItem, Ranking

RANKINGS = (
    Ranking("u", (RankedItem("b1", 0.25, "Red kite"), RankedItem("b2", -3.5, because="b9"))),
    Ranking("nobody", ()),
)


def write(path, rankings=RANKINGS):
    with Recipe(KIND, {"rule": "reciprocal-rank"}, {"index": "f"}).draft(path) as draft:
        write_rankings(draft, rankings, summary={"n": 1})


def test_rankings_come_back_as_they_were_with_empty_lists_and_reasons(tmp_path):
    write(tmp_path / "ranking")
    artifact, rankings = load_rankings(tmp_path / "ranking")
    assert rankings == RANKINGS
    assert artifact.config == {"rule": "reciprocal-rank"}
    assert artifact.inputs == {"index": "f"}
    assert artifact.summary == {"users": 2, "users without a list": 1, "n": 1}


def test_one_row_a_user_can_be_read_by_any_parquet_reader(tmp_path):
    write(tmp_path / "ranking")
    frame = pl.read_parquet(tmp_path / "ranking" / "ranking.parquet")
    assert frame.columns == ["user", "items", "scores", "queries", "because"]
    assert frame["queries"].to_list() == [["Red kite", None], []]
    assert frame["because"].to_list() == [[None, "b9"], []]


def test_no_rankings_at_all_are_kept_too(tmp_path):
    write(tmp_path / "ranking", ())
    assert load_rankings(tmp_path / "ranking")[1] == ()
