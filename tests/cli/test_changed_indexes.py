"""Items that were added to an index or removed from it: nothing crashes, nothing is undone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gloss.evaluation.protocol import FAIR
from gloss.experiment import stages
from gloss.rankings.files import load_rankings
from gloss.retrieval.index import load_index
from preparing import csv_items, csv_log, prepared, purchases, write
from processes import TINY

NEW = (
    "--item",
    " b9.0 ",
    "--item",
    "7.0",
    "--title",
    "Red &amp; blue kite",
    "--title",
    "Drum \ud83d",
)


@pytest.fixture
def data(tmp_path) -> Path:
    log = write(tmp_path / "log.csv", csv_log(purchases(8, 4)))
    items = write(tmp_path / "items.csv", csv_items())
    return prepared(tmp_path / "data", (str(log),), (str(items),), split="leave-one-out").path


@pytest.fixture
def index(data, tmp_path) -> Path:
    return stages.index(data, tmp_path / "index", settings=FAIR.index_settings()).path


def measured(done, ranking: str, data: Path) -> int:
    call = ("evaluate", "-r", ranking, "-d", data, "--json")
    return json.loads(done(*call).out)["overall"]["users"]


def test_ids_and_titles_are_repaired_as_in_tables(done, index):
    done("items", "add", "-i", index, *NEW, "-o", "more")
    catalogue = load_index(Path("more")).catalogue
    assert [(item.id, item.title) for item in catalogue][-2:] == [
        ("b9.0", "Red & blue kite"),
        ("7", "Drum \ufffd"),
    ]
    done("items", "remove", "-i", "more", "--item", "7 ", "-o", "less")
    assert "7" not in load_index(Path("less")).catalogue


@pytest.mark.parametrize(
    ("item", "title", "complaint"),
    [
        ("", "Kite", "--item is missing"),
        ("b9", "&nbsp;<br>", "has no word"),
    ],
)
def test_what_a_table_would_not_hold_is_refused(gloss, index, item, title, complaint):
    failed = gloss("items", "add", "-i", index, "--item", item, "--title", title, "-o", "more")
    assert complaint in failed.error


def test_an_item_given_twice_is_named(gloss, index):
    twice = ("--item", "7", "--title", "Kite", "--item", "7.0", "--title", "Drum")
    assert "given twice: 7" in gloss("items", "add", "-i", index, *twice, "-o", "more").error


@pytest.mark.parametrize("ranker", ["last-item", "popularity"])
@pytest.mark.parametrize("change", [("add", *NEW), ("remove", "--item", "i3")], ids=lambda c: c[0])
def test_baselines_on_a_changed_index_are_ranked_and_measured(done, data, index, ranker, change):
    command, *what = change
    done("items", command, "-i", index, *what, "-o", index)
    done("baseline", ranker, "-d", data, "-i", index, "-o", "ranking")
    assert measured(done, "ranking", data) == 8
    listed = load_rankings(Path("ranking"))[1].entries["items"].to_list()
    assert command == "add" or "i3" not in listed


def test_titles_that_find_an_added_item_are_ranked_measured_and_reported(done, data, index):
    done("items", "add", "-i", index, *NEW, "-o", index)
    entry = {"reviewer_id": "u0", "seen_asins": [], "generated_sequences": ["Red & blue kite"]}
    write(Path("research.json"), json.dumps([entry]))
    done("rank", "-g", "research.json", "-i", index, "-o", "ranking")
    assert load_rankings(Path("ranking"))[1][0].entries[0].item == "b9.0"
    assert measured(done, "ranking", data) == 1
    done("report", "ranking-evaluation", "-d", data, "-o", "report.html")


def test_a_run_keeps_the_items_that_were_added_and_says_so(done, tmp_path, caplog):
    config = write(tmp_path / "tiny.yaml", TINY)
    done("run", config, "-o", "run")
    done("items", "add", "-i", "run/index", *NEW, "-o", "run/index")
    caplog.clear()
    done("run", config, "-o", "run")
    assert "b9.0" in load_index(Path("run/index")).catalogue
    assert "was changed by gloss items add or remove: it stays" in caplog.text
    shutil.rmtree("run/index")
    done("run", config, "-o", "run")
    assert "b9.0" not in load_index(Path("run/index")).catalogue


def test_an_index_that_is_made_anew_says_what_is_lost(done, data, index, caplog):
    done("items", "remove", "-i", index, "--item", "i3", "-o", index)
    done("index", "-d", data, "-o", index)
    assert "i3" in load_index(index).catalogue
    assert "made anew from the data set: repeat these commands" in caplog.text
