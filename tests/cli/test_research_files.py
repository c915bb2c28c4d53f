"""The research repository's generations: whose they are is held against the data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gloss.data.dataset import Dataset
from gloss.data.generations import Query, read_research_file
from gloss.errors import InputError
from gloss.evaluation.protocol import PAPER
from gloss.experiment import stages
from gloss.experiment.stages.report import report_on
from preparing import csv_items, csv_log, prepared, purchases, write

USERS = 40


@pytest.fixture
def data(tmp_path) -> Dataset:
    """40 users of five purchases each; everybody's second-last purchase is for validation."""
    log = write(tmp_path / "log.csv", csv_log(purchases(USERS, 5)))
    items = write(tmp_path / "items.csv", csv_items())
    return prepared(tmp_path / "data", (str(log),), (str(items),), split="leave-one-out")


@pytest.fixture
def index(data, tmp_path) -> Path:
    return stages.index(data.path, tmp_path / "index", settings=PAPER.index_settings()).path


def oracle(data: Dataset, split: Any, **changed: Any) -> list[dict[str, Any]]:
    """What a model would write that knows the future."""
    catalogue = data.catalogue("paper")
    return [
        {
            "reviewer_id": example.user,
            "asin": example.target,
            "seen_asins": list(example.history),
            "generated_sequences": [f"Title: {catalogue.title(example.target)}"],
            **changed,
        }
        for example in data.examples(split)
    ]


def saved(entries: Any, name: str = "research.json") -> Path:
    return write(Path(name).absolute(), json.dumps(entries))


def rank(file: Path, index: Path, *more: Any) -> tuple[Any, ...]:
    return ("rank", "-g", file, "-i", index, "-o", "ranking", "--protocol", "paper", *more)


def evaluate(data: Dataset, *more: Any) -> tuple[Any, ...]:
    return ("evaluate", "-r", "ranking", "-d", data.path, "--protocol", "paper", *more)


def recall(said: Any) -> float:
    return json.loads(said.out)["overall"]["metrics"]["recall@5"]["mean"]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_an_oracle_of_a_split_is_perfect_on_that_split(done, data, index, split):
    file = saved(oracle(data, split))
    done(*rank(file, index, "-d", data.path, "--split", split))
    assert recall(done(*evaluate(data, "--json"))) == 1.0


@pytest.mark.parametrize(("split", "named"), [("validation", "test"), ("test", "validation")])
def test_an_oracle_of_another_split_is_refused_with_the_split_that_it_is_of(
    gloss, data, index, split, named
):
    file = saved(oracle(data, split))
    failed = gloss(*rank(file, index, "-d", data.path, "--split", named))
    assert f"is of the {split} split, not of the {named} split" in failed.error
    assert f"--split {split}" in failed.error
    assert not Path("ranking").exists()


def test_without_a_data_set_the_split_is_checked_when_the_ranking_is_measured(
    gloss, done, data, index
):
    done(*rank(saved(oracle(data, "validation")), index))
    failed = gloss(*evaluate(data))
    assert "is of the validation split, not of the test split" in failed.error
    assert "40 of 40 users (user u0: i3, in the test split i4)" in failed.error


def test_targets_of_no_split_are_named(gloss, data, index):
    failed = gloss(*rank(saved(oracle(data, "test", asin="i0")), index, "-d", data.path))
    assert "is not of the test split" in failed.error
    assert "asin is not what was bought next there for 35 of 40 users" in failed.error


def test_purchases_that_nobody_made_are_named(gloss, data, index):
    failed = gloss(*rank(saved(oracle(data, "test", seen_asins=["i9"])), index, "-d", data.path))
    assert "seen_asins has items that were not bought before (user u0: i9)" in failed.error


def test_some_of_the_users_are_measured_and_it_is_said(done, data, index):
    few = oracle(data, "test")[5:2:-1]
    done(*rank(saved(few), index, "-d", data.path))
    said = done(*evaluate(data))
    assert "measured on 3 of the split's 40 users" in said.err
    assert recall(done(*evaluate(data, "--json"))) == 1.0


def test_purchases_that_the_file_does_not_know_are_not_said_to_be_removed(done, data, index):
    unknowing = oracle(data, "test", seen_asins=[], generated_sequences=["Title: Red kite"])
    for name, entries in (("knowing", oracle(data, "test")), ("unknowing", unknowing)):
        done(*rank(saved(entries), index, "--exclude-seen", "-o", name))
        done("evaluate", "-r", name, "-d", data.path, "--protocol", "paper", "-o", f"{name}-e")
    config = {
        name: json.loads(Path(f"{name}-e/manifest.json").read_bytes())["config"]
        for name in ("knowing", "unknowing")
    }
    assert config["knowing"]["exclude_seen"] is True
    assert config["unknowing"]["exclude_seen"] is False
    (report,) = report_on([Path("knowing-e"), Path("unknowing-e")], [data.path])
    assert [row.note for row in report.rows] == ["items bought already removed", ""]


def test_a_split_may_be_said_of_our_generations_only_if_it_is_theirs(gloss, done, run):
    call = ("rank", "-g", run.generations, "-i", run.index, "-o", "ranking", "--split")
    done(*call, "test")
    assert "was generated for the test split" in gloss(*call, "validation").error


def test_integer_ids_are_ids(tmp_path):
    entry = {"reviewer_id": 7, "asin": 3.0, "seen_asins": [1, " 2 "], "generated_sequences": []}
    (generation,) = read_research_file(saved([entry], str(tmp_path / "ints.json")))
    assert (generation.user, generation.target, generation.history) == ("7", "3", ("1", "2"))


def test_half_a_character_is_repaired_and_null_is_nothing_written(tmp_path):
    entries = [
        {"reviewer_id": "u", "seen_asins": [], "generated_sequences": ["Title: Kite \ud83d", None]},
        {"reviewer_id": "v", "seen_asins": [], "generated_sequences": None},
    ]
    first, second = read_research_file(saved(entries, str(tmp_path / "half.json")))
    assert first.queries == (Query("Kite \ufffd", 0), Query("", 1))
    assert second.queries == ()


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"reviewer_id": None}, "entry 2: reviewer_id is missing"),
        ({"seen_asins": [[1]]}, "entry 2: seen_asins is not an id"),
        ({"seen_asins": "i1"}, "entry 2: expected reviewer_id"),
        ({"generated_sequences": [3]}, "entry 2: expected reviewer_id"),
        ({"reviewer_id": " u "}, "entry 2: user u stands in entry 1 already"),
    ],
)
def test_an_entry_that_cannot_be_read_is_named(tmp_path, changed, complaint):
    good = {"reviewer_id": "u", "asin": "b", "seen_asins": ["a"], "generated_sequences": ["Kite"]}
    with pytest.raises(InputError, match=complaint):
        read_research_file(
            saved([good, {**good, "reviewer_id": "v", **changed}], str(tmp_path / "bad.json"))
        )
