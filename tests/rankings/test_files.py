import polars as pl
import pytest

from gloss.artifacts import Recipe
from gloss.errors import ArtifactError
from gloss.rankings.files import KIND, load_rankings, write_in_parts, write_rankings
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.records import FusedRankingConfig, TitleRankingConfig, config_of
from gloss.rankings.table import RankingTable

RANKINGS = (
    Ranking("u", (RankedItem("b1", 0.25, "Red kite"), RankedItem("b2", -3.5, because="b9"))),
    Ranking("nobody", ()),
)


CONFIG = TitleRankingConfig(
    split="test",
    length=2,
    exclude_seen=True,
    fills_up=False,
    per_query=2,
    fusion="best-score",
    index={"retriever": "bm25"},
)


def write(path, rankings=RANKINGS):
    with Recipe(KIND, CONFIG.to_json(), {"index": "f"}).draft(path) as draft:
        write_rankings(draft, rankings, summary={"n": 1})


def test_lists_that_come_in_parts_are_one_ranking(tmp_path):
    others = (Ranking("v", (RankedItem("b3", 7.0),)), Ranking("w", ()))
    parts = [RankingTable.of(RANKINGS), RankingTable.of(others), RankingTable.of(RANKINGS[1:])]
    with Recipe(KIND, CONFIG.to_json(), {"index": "f"}).draft(tmp_path / "ranking") as draft:
        write_in_parts(draft, iter(parts))
    artifact, rankings = load_rankings(tmp_path / "ranking")
    assert rankings == (*RANKINGS, *others, RANKINGS[1])
    assert artifact.summary == {"users": 2 + 2 + 1, "users without a list": 1 + 1 + 1}


def test_no_parts_are_a_ranking_of_nobody(tmp_path):
    with Recipe(KIND, CONFIG.to_json(), {"index": "f"}).draft(tmp_path / "ranking") as draft:
        write_in_parts(draft, iter(()))
    artifact, rankings = load_rankings(tmp_path / "ranking")
    assert rankings == ()
    assert artifact.summary == {"users": 0, "users without a list": 0}


def test_rankings_come_back_as_they_were_with_empty_lists_and_reasons(tmp_path):
    write(tmp_path / "ranking")
    artifact, rankings = load_rankings(tmp_path / "ranking")
    assert rankings == RANKINGS
    assert config_of(artifact) == CONFIG
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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"length": None}, "length: Input should be a valid integer"),
        ({"length": "2"}, "length: Input should be a valid integer"),
        ({"split": "train"}, "split: Input should be 'validation' or 'test'"),
        ({"depth": 2}, "depth is unknown"),
        ({"rankers": ["gloss"]}, "fusion: Input|features is missing"),
    ],
)
def test_a_ranking_that_was_made_otherwise_is_named_in_one_line(tmp_path, changes, said):
    with Recipe(KIND, CONFIG.to_json() | changes, {}).draft(tmp_path / "r") as draft:
        write_rankings(draft, RANKINGS)
    artifact, _ = load_rankings(tmp_path / "r")
    with pytest.raises(ArtifactError, match=said) as raised:
        config_of(artifact)
    assert str(raised.value).startswith(f"{tmp_path / 'r'} was made by another version of GLoSS (")
    assert str(raised.value).endswith("): make it again")
    assert "\n" not in str(raised.value)


def test_what_is_missing_is_named_too(tmp_path):
    config = {key: each for key, each in CONFIG.to_json().items() if key != "per_query"}
    with Recipe(KIND, config, {}).draft(tmp_path / "r") as draft:
        write_rankings(draft, RANKINGS)
    with pytest.raises(ArtifactError, match=r"\(per_query is missing\)"):
        config_of(load_rankings(tmp_path / "r")[0])


def test_each_way_to_a_ranking_is_told_from_the_others(tmp_path):
    fused = FusedRankingConfig(
        split="test",
        length=2,
        exclude_seen=True,
        fusion="reciprocal-rank",
        rankers=("gloss", "sasrec"),
        features=(),
    )
    with Recipe(KIND, fused.to_json(), {}).draft(tmp_path / "r") as draft:
        write_rankings(draft, RANKINGS)
    found = config_of(load_rankings(tmp_path / "r")[0])
    assert found == fused
    assert (found.ranker, found.made_by, found.index) == (None, "gloss", None)
    assert "ranker" not in fused.to_json()
