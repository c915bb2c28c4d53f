"""Files of others are never touched, in any command that takes -o."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gloss.artifacts import MANIFEST
from gloss.experiment.run_folder import OURS

MAKES = {
    "prepare": lambda run, config: ("prepare", "shop", "--users", 33),
    "train": lambda run, config: ("train", config, "-d", run.data),
    "generate": lambda run, config: (
        *("generate", "-m", run.model, "-d", run.data),
        *("--limit-users", 3, "--beams", 2),
    ),
    "index": lambda run, config: ("index", "-d", run.data, "--k1", 1.2),
    "rank": lambda run, config: ("rank", "-g", run.generations, "-i", run.index, "-k", 7),
    "baseline": lambda run, config: ("baseline", "popularity", "-d", run.data, "-k", 7),
    "signal": lambda run, config: ("baseline", "transitions", "-d", run.data, "-k", 7),
    "sasrec": lambda run, config: ("baseline", "sasrec", "-d", run.data, "-k", 7),
    "evaluate": lambda run, config: ("evaluate", "-r", run.ranking("popularity"), "-d", run.data),
    "export": lambda run, config: ("export", run.ranking("popularity"), "-d", run.data),
    "items add": lambda run, config: (
        *("items", "add", "-i", run.index),
        *("--item", "new", "--title", "Red kite"),
    ),
    "items remove": lambda run, config: ("items", "remove", "-i", run.index, "--item", "b000"),
    "run": lambda run, config: ("run", config),
    "demo": lambda run, config: ("demo",),
}
STANDS = {
    "prepare": lambda run: run.data,
    "train": lambda run: run.model,
    "generate": lambda run: run.generations,
    "index": lambda run: run.index,
    "rank": lambda run: run.ranking(OURS),
    "baseline": lambda run: run.ranking(OURS),
    "signal": lambda run: run.ranking(OURS),
    "evaluate": lambda run: run.evaluation(OURS),
    "items add": lambda run: run.index,
    "items remove": lambda run: run.index,
}
"""An artefact of the kind that the command makes, of other settings."""


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def first_item(run) -> str:
    from gloss.retrieval.index import load_index

    return load_index(run.index).catalogue[0].id


def call_of(command: str, run, config: Path) -> tuple[object, ...]:
    return tuple(
        first_item(run) if part == "b000" else part for part in MAKES[command](run, config)
    )


@pytest.mark.parametrize("command", MAKES)
def test_a_foreign_folder_is_refused_and_kept(gloss, run, tiny_config, tmp_path, command):
    theirs = tmp_path / "theirs"
    (theirs / "deep").mkdir(parents=True)
    (theirs / "deep" / "thesis.txt").write_text("years of work")
    (theirs / "config.yaml").write_text("title: my web site\n")
    (theirs / MANIFEST).write_text('{"fingerprint": "", "kind": "dataset"}')
    before = tree(tmp_path)
    failed = gloss(*call_of(command, run, tiny_config), "-o", theirs)
    assert "theirs" in failed.error
    after = tree(tmp_path)
    if command == "sasrec":  # has been trained beside it by then
        after = {name: content for name, content in after.items() if "-trained" not in name}
    assert after == before


@pytest.mark.parametrize("command", STANDS)
def test_notes_in_an_artefact_are_named_and_kept(gloss, run, tiny_config, tmp_path, command):
    out = shutil.copytree(STANDS[command](run), tmp_path / "out")
    (out / "notes.txt").write_text("what I found out")
    before = tree(out)
    failed = gloss(*call_of(command, run, tiny_config), "-o", out)
    assert "notes.txt" in failed.error
    assert tree(out) == before


def test_notes_in_an_index_that_is_changed_in_place_are_named_and_kept(gloss, run, tmp_path):
    index = shutil.copytree(run.index, tmp_path / "index")
    (index / "notes.txt").write_text("mine")
    before = tree(index)
    call = ("items", "add", "-i", index, "--item", "new", "--title", "Kite", "-o", index)
    assert "notes.txt" in gloss(*call).error
    assert tree(index) == before


def test_a_page_that_is_no_report_is_not_overwritten(gloss, done, run, tmp_path):
    page = tmp_path / "index.html"
    page.write_text("<!doctype html><title>Mine</title>")
    assert "is no report of gloss's" in gloss("report", run.path, "-o", page).error
    assert page.read_text() == "<!doctype html><title>Mine</title>"
    done("report", run.path, "-o", "new.html")
    first = Path("new.html").read_bytes()
    done("report", run.path, "-o", "new.html", "--title", "Again")
    assert Path("new.html").read_bytes() != first


def test_tables_lie_in_a_folder_of_their_own(gloss, done, run, tmp_path):
    theirs = tmp_path / "tables"
    theirs.mkdir()
    (theirs / "overall.csv").write_text("mine")
    failed = gloss("report", run.path, "-o", "page.html", "--tables", theirs)
    assert "overall.csv" in failed.error
    assert (theirs / "overall.csv").read_text() == "mine"
    for _ in range(2):
        done("report", run.path, "-o", "page.html", "--tables", "new")
    assert (Path("new") / "overall.csv").is_file()


def test_networks_that_are_named_are_not_replaced(gloss, done, run, tmp_path):
    """A run's own, of other settings: they would be gone, and the run would not know."""
    done("baseline", "sasrec", "-d", run.data, "--limit-users", 2, "-o", "one", "--seed", 1)
    before = tree(Path("one-trained"))
    call = ("baseline", "sasrec", "-d", run.data, "--limit-users", 2, "-o", "two")
    failed = gloss(*call, "--trained", "one-trained", "--seed", 2)
    assert "one-trained is trained already" in failed.error
    assert tree(Path("one-trained")) == before
    done(*call, "--trained", "one-trained")
    assert tree(Path("one-trained")) == before
