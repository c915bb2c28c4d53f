"""The ranker of docs/extending.md: it keeps the contract, and a file and two lines are enough."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import gloss
from extending.same_beginning import SPEC, SameBeginning
from gloss.data.catalogue import Catalogue, Item
from gloss.data.histories import History
from gloss.rankers.ranker import RankRequest
from gloss.testing.rankers import RankerContract

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "extending.md"
EXPERIMENT = {
    "name": "extended",
    "data": {"source": "shop", "users": 150, "split": "leave-one-out"},
    "model": {"vocabulary": 400, "layers": 1, "width": 32, "heads": 2, "context": 256},
    "training": {"epochs": 1, "warmup_steps": 2, "validation_users": 10},
    "decoding": {"beams": 4},
    "limit_users": 40,
    "rankers": {"use": ["transitions", SPEC.name], "same_beginning": {"words": 2}},
    "fusion": {"guard": False},  # its weights are looked at, whatever they are worth
}
IMPORTS = "from gloss.rankers import (\n"
TUPLE = "RANKERS: tuple[RankerSpec[Any], ...] = (\n"
TITLES = {"a": "Acme Red Kite", "b": "Acme red ball", "c": "Acme pump", "d": "Zeta red kite"}


class TestSameBeginning(RankerContract):
    @pytest.fixture
    def ranker(self, catalogue) -> SameBeginning:
        return SameBeginning(catalogue, words=3)

    @pytest.fixture
    def catalogue(self) -> Catalogue:
        return Catalogue(Item(item, title) for item, title in TITLES.items())

    @pytest.fixture
    def histories(self) -> list[History]:
        return [History("u", ("d", "a")), History("v", ("c",)), History("w", ("a", "b", "a"))]

    def test_the_score_is_the_number_of_equal_words(self, catalogue) -> None:
        asked = RankRequest([History("u", ("a",))], length=9, exclude_seen=True)
        for words, scores in ((3, {"b": 2.0, "c": 1.0}), (1, {"b": 1.0, "c": 1.0})):
            (ranking,) = SameBeginning(catalogue, words).rank(asked)
            assert {entry.item: entry.score for entry in ranking.entries} == scores


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Path:
    """A copy of the package with the file, and the lines that the page adds to the tuple."""
    folder = tmp_path_factory.mktemp("extended")
    package = shutil.copytree(Path(gloss.__file__).parent, folder / "gloss")
    shutil.copy(HERE / "same_beginning.py", package / "rankers")
    tuple_of_specs = package / "rankers" / "specs.py"
    text = tuple_of_specs.read_text("utf-8")
    for before, added in ((IMPORTS, "same_beginning,"), (TUPLE, "same_beginning.SPEC,")):
        assert text.count(before) == 1
        text = text.replace(before, f"{before}    {added}\n")
    tuple_of_specs.write_text(text, "utf-8")
    (folder / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of the copy."""
    code = "from gloss.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_run_fuses_it_measures_it_and_calls_it_by_its_label(extended):
    made = run(extended, "run", "experiment.yaml", "-o", "run", "--json")
    assert made.returncode == 0, made.stderr
    assert "Same beginning" in json.loads(made.stdout)
    manifest = json.loads((extended / "run/rankings/fused/manifest.json").read_text())
    assert list(manifest["summary"]["weights"]) == ["gloss", "transitions", "same-beginning"]
    ranking = json.loads(
        (extended / "run/candidates/test/same-beginning/manifest.json").read_text()
    )
    assert ranking["config"]["settings"] == {"words": 2}
    assert "Same beginning" in (extended / "run/report.html").read_text("utf-8")


def test_the_commands_know_it(extended):
    assert "same-beginning: Same beginning" in run(extended, "baseline", "--names").stdout
    assert run(extended, "prepare", "shop", "--users", "50", "-o", "data").returncode == 0
    made = run(extended, "baseline", "same-beginning", "-d", "data", "-o", "lists")
    assert made.returncode == 0, made.stderr
    assert (extended / "lists/ranking.parquet").is_file()


def test_its_settings_are_checked(extended):
    for setting, message in (
        ("rankers.same_beginning.word=1", "did you mean words"),
        ("rankers.same_beginning.words=0", "rankers.same_beginning.words: Input should be greater"),
    ):
        failed = run(extended, "run", "experiment.yaml", setting, "--dry-run")
        assert message in failed.stderr


def test_the_page_shows_this_code_and_these_lines():
    page = PAGE.read_text("utf-8")
    assert (HERE / "same_beginning.py").read_text("utf-8") in page
    assert "same_beginning,\n" in page
    assert "same_beginning.SPEC,\n" in page
