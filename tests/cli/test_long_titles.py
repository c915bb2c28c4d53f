"""A title too long for the model: left out, said before the training, and everybody is served."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gloss.data.dataset import Dataset
from gloss.data.generations import read_generations
from gloss.experiment.stages.report import report_on
from gloss.rankings.files import load_rankings
from preparing import csv_log, purchases, write

LONG = "https://shop.invalid/p/" + "qw7b3pdkhx4py8gpan0rlykei2ii" * 40
TITLES = ("Red kite", "Blue kite", "Wooden train set", "Paper lantern", LONG, "Tin whistle")


@pytest.fixture
def config(tmp_path) -> Path:
    log = purchases(20, 5)
    log = [(user, f"i{int(item[1:]) % len(TITLES)}", time) for user, item, time in log]
    rows = [f'i{row},"{title}"' for row, title in enumerate(TITLES)]
    write(tmp_path / "log.csv", csv_log(log))
    write(tmp_path / "items.csv", "\n".join(["item,title", *rows]) + "\n")
    return write(
        tmp_path / "long.yaml",
        """
name: long
data: {source: table, interactions: log.csv, items: items.csv, split: leave-one-out}
model: {vocabulary: 300, layers: 1, width: 32, heads: 2, context: 512}
training: {epochs: 2, batch_tokens: 1024, warmup_steps: 2, validation_users: 10}
decoding: {mode: catalogue, beams: 5}
""",
    )


def test_a_title_too_long_for_the_model_stops_nobody(done, config, caplog):
    done("run", config, "-o", "run")
    said = caplog.text.index("1 of 6 items have titles too long for a context of 512 tokens (i4,")
    assert said >= 0
    examples = Dataset.load(Path("run/data")).examples("test")
    written = read_generations(Path("run/generations"))
    assert [each.user for each in written] == [example.user for example in examples]
    assert LONG not in {query.text for each in written for query in each.queries}
    assert load_rankings(Path("run/rankings/gloss"))[1].lengths.min() > 0


def test_a_run_and_its_report_show_what_prepare_left_out(done, config, tmp_path):
    with (tmp_path / "items.csv").open("a") as items:
        items.write("i9,\ni0,Red kite again\n")
    with (tmp_path / "log.csv").open("a") as log:
        log.write("u0,i9,1600000000\nu0,i77,1600000001\n")
    said = done("run", config, "-o", "run")
    assert "items without a title: 1; duplicate items: 1;" in said.err
    assert (
        "purchases of items without a title: 2; of them of items that the catalogue lacks: 1"
        in (said.err)
    )
    (report,) = report_on([Path("run")])
    assert report.facts["Items without a title"] == "1"
    assert report.facts["Of them of items that the catalogue lacks"] == "1"
    assert "Bad lines" not in report.facts
    assert "Duplicate items with different titles" in Path("run/report.html").read_text()


def test_one_long_title_among_many_histories_stops_no_other(done, config):
    done("run", config, "-o", "run")
    lines = [["Red kite"], ["x" * 3000], ["Red kite", "y" * 3000]]
    write(Path("many.jsonl"), "".join(json.dumps(line) + "\n" for line in lines))
    done("bundle", "run", "-o", "bundle")
    said = done("recommend", "-b", "bundle", "--histories", "many.jsonl", "-k", 3, "--json")
    first, second, third = json.loads(said.out)
    assert [len(answer["items"]) for answer in (first, second, third)] == [3, 3, 3]
    assert [each["item"] for each in third["items"]] == [each["item"] for each in first["items"]]
    assert (first["unknown"], third["unknown"]) == ([], ["y" * 3000])
