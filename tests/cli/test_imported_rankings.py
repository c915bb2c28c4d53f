"""Lists that another program has made: read in any format, and measured as any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gloss.data.dataset import Dataset
from gloss.experiment import stages
from gloss.experiment.stages.report import report_on
from gloss.rankings.files import load_rankings
from preparing import csv_items, csv_log, prepared, purchases, write

USERS = 8


@pytest.fixture
def data(tmp_path) -> Dataset:
    """User n buys the items n, n + 1, … n + 3, so that everybody's next item is n + 3."""
    log = write(tmp_path / "log.csv", csv_log(purchases(USERS, 4)))
    items = write(tmp_path / "items.csv", csv_items())
    return prepared(tmp_path / "data", (str(log),), (str(items),), split="leave-one-out")


def lists(depth: int = 3) -> list[tuple[str, str, float, int]]:
    """For user n the items n + 4, n + 3, …: the next item is always second."""
    return [
        (f"u{user}", f"i{(user + 4 - place) % 8}", 1.0 - place / 10, place + 1)
        for user in range(USERS)
        for place in range(depth)
    ]


def as_text(rows: list[tuple[Any, ...]], head: str, delimiter: str) -> str:
    lines = [delimiter.join(map(str, row)) for row in rows]
    return "\n".join([*([head] if head else []), *lines]) + "\n"


def trec(delimiter: str) -> str:
    rows = [(user, "Q0", item, rank, score, "mine") for user, item, score, rank in lists()]
    return as_text(rows, "", delimiter)


FILES = {
    "scores.csv": lambda: as_text([row[:3] for row in lists()][::-1], "user,item,score", ","),
    "ranks.csv": lambda: as_text([(u, i, r) for u, i, _, r in lists()], "user,item,rank", ","),
    "rectools.csv": lambda: as_text(lists(), "user_id,item_id,score,rank", ","),
    "recbole.inter": lambda: as_text(
        [row[:3] for row in lists()], "user_id:token\titem_id:token\tscore:float", "\t"
    ),
    "run.txt": lambda: trec(" "),
    "tabs.run": lambda: trec("\t"),
    "rows.jsonl": lambda: "".join(
        json.dumps({"user": u, "item": i, "score": s}) + "\n" for u, i, s, _ in lists()
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_ends_with_the_same_lists(done, data, name):
    write(Path(name), FILES[name]())
    done("import", "ranking", name, "-d", data.path, "-o", "ranking")
    made, table = load_rankings(Path("ranking"))
    assert made.config["ranker"] == name.split(".")[0]
    found = {each.user: [entry.item for entry in each.entries] for each in table}
    assert found == {
        f"u{user}": [f"i{(user + 4 - place) % 8}" for place in range(3)] for user in range(USERS)
    }


def test_parquet_is_read(done, data):
    frame = pl.DataFrame(lists(), ["user_id", "item_id", "score", "rank"], orient="row")
    frame.write_parquet("lists.parquet")
    done("import", "ranking", "lists.parquet", "-d", data.path, "-o", "ranking")
    assert load_rankings(Path("ranking"))[1].lengths.tolist() == [3] * USERS


def test_an_imported_ranking_is_evaluated_compared_and_reported(done, data):
    write(Path("mine.csv"), FILES["scores.csv"]())
    done("import", "ranking", "mine.csv", "-d", data.path, "-o", "mine", "--name", "my-method")
    done("baseline", "popularity", "-d", data.path, "-k", 3, "-o", "popular")
    for name in ("mine", "popular"):
        cutoffs = ("--cutoff", 1, "--cutoff", 3)
        done("evaluate", "-r", name, "-d", data.path, *cutoffs, "-o", f"{name}-e")
    (found,) = json.loads(
        done("compare", "mine-e", "popular-e", "--metric", "recall@3", "--json").out
    )
    assert found["users"] == USERS
    assert found["first"] == 1.0
    (report,) = report_on([Path("mine-e"), Path("popular-e")], [data.path])
    mine = next(row for row in report.rows if row.model == "My method")
    assert mine.values["recall@1"] == 0.0
    assert mine.values["mrr"] == 1 / 2


def test_our_own_export_comes_back(done, run):
    done("export", run.ranking("popularity"), "-d", run.data, "-o", "trec")
    done("import", "ranking", "trec/run.txt", "-d", run.data, "-o", "back")
    ours, back = (load_rankings(path)[1] for path in (run.ranking("popularity"), Path("back")))
    assert ours.users == back.users
    assert ours.entries["items"].to_list() == back.entries["items"].to_list()


def test_ids_are_values_on_both_sides(tmp_path):
    rows = [(user, item, time) for user in range(3) for time, item in enumerate((1, 2, 3))]
    log = write(tmp_path / "log.csv", csv_log(rows))
    items = write(tmp_path / "items.csv", "item,title\n1,Kite\n2,Drum\n3,Ball\n")
    data = prepared(tmp_path / "data", (str(log),), (str(items),))
    frame = pl.DataFrame({"user": [0.0, 1.0], "item": ["3.0", " 3 "], "score": [1, 1]})
    frame.write_parquet(tmp_path / "mine.parquet")
    made = stages.import_ranking(tmp_path / "mine.parquet", data.path, tmp_path / "ranking")
    assert made.summary["users that are not in the split"] == 0
    assert made.summary["entries of items that the catalogue lacks"] == 0
    assert load_rankings(made.path)[1].lengths.tolist() == [1, 1, 0]


def test_what_the_data_set_lacks_is_counted_and_shown(done, data):
    odd = [("u0", "b7", 2.0), ("u0", "i3", 1.0), ("u0", "i3", 0.5), ("someone", "i1", 1.0)]
    write(Path("odd.csv"), as_text(odd, "user,item,score", ","))
    said = done("import", "ranking", "odd.csv", "-d", data.path, "-o", "ranking", "--json")
    summary = json.loads(said.out)
    assert summary["users that are not in the split"] == 1
    assert summary["entries of items that the catalogue lacks"] == 1
    assert summary["repeated entries left out"] == 1
    assert summary["users without a list"] == USERS - 1
    strangers, unknown = summary["warnings"]
    assert "the file has 'someone'; the data set has 'u0', 'u1', 'u2'" in strangers
    assert "the file has 'b7'; the data set has 'i0', 'i1', 'i2'" in unknown
    measured = ("evaluate", "-r", "ranking", "-d", data.path, "--cutoff", 1, "--cutoff", 2)
    metrics = json.loads(done(*measured, "--json").out)["overall"]["metrics"]
    assert metrics["recall@1"]["mean"] == 0.0  # the unknown item has kept the first place
    assert metrics["recall@2"]["mean"] == 1 / USERS


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("user,item,score\nu0,i1,much\n", "odd.csv:2: score is not a number"),
        ("user,item,score\nu0,,1\n", "odd.csv:2: item is missing"),
        ("who,item,score\nu0,i1,1\n", "has no column 'user'; it has 'who', 'item', 'score'"),
        ("user,item\nu0,i1\n", "neither scores nor ranks"),
        ("user,item,score\nx,i1,1\n", "has no user of the split: the file has 'x'"),
        ("user,item,score\nu0,x,1\n", "has no item of the catalogue: the file has 'x'"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(gloss, data, content, complaint):
    write(Path("odd.csv"), content)
    failed = gloss("import", "ranking", "odd.csv", "-d", data.path, "-o", "ranking")
    assert complaint in failed.error
    assert not Path("ranking").exists()
