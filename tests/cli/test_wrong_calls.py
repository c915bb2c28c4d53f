from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gloss.experiment.run_folder import OURS
from gloss.rankers.specs import RANKERS

WRONG_CALL, FAILURE = 2, 1


@pytest.fixture
def files(tmp_path) -> Path:
    """A folder of small tables."""
    (tmp_path / "log.csv").write_text("user,item,time\nann,a,1\nann,b,2\nann,a,3\n")
    (tmp_path / "items.csv").write_text("item,title\na,Kite\nb,Ball\n")
    (tmp_path / "nameless.csv").write_text("item,title\na,\nb,\n")
    (tmp_path / "empty.csv").write_text("item,title\n")
    (tmp_path / "notes.txt").write_text("mine")
    return tmp_path


# Experiments


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("decoding.beems=3", "unknown setting decoding.beems (did you mean beams?)"),
        ("decodng.beams=3", "unknown setting decodng (did you mean decoding?)"),
        ("data.user=3", "unknown setting data.user (did you mean users?)"),
        ("decoding.beams", "override 'decoding.beams' is not section.key=value"),
        ("=3", "override '=3' is not section.key=value"),
        ("decoding.beams=[", "override 'decoding.beams=[' is not YAML"),
        ("decoding.beams=0", "decoding.beams: Input should be greater than or equal to 1"),
        ("decoding.beams=many", "decoding.beams: Input should be a valid integer"),
        ("decoding.returned=9", "returned (9) cannot exceed beams (4)"),
        ("model.heads=3", "width (32) must be a multiple of 2 x heads (3)"),
        ("name.first=x", "name is not a section"),
        ("protocol=fare", "protocol: Input should be 'fair' or 'paper'"),
        ("data.source=table", "data.interactions: Field required"),
        ("ranking.cutoffs=[21]", "cannot be measured at 21"),
        ("ranking.segments=[9, 6]", "cold (9) must be below regular (6)"),
    ],
)
def test_a_setting_that_is_wrong_is_named(gloss, tiny_config, tmp_path, override, said):
    failed = gloss("run", tiny_config, override, "-o", tmp_path / "run")
    assert said in failed.error
    assert failed.code == WRONG_CALL
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["run", "train"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "does not exist"),
        ("name: [\n", "is not YAML"),
        ("", "holds no settings"),
        ("- a\n- b\n", "holds no settings"),
        ("name: a\nname: b\n", "name stands there twice"),
        ("name: a\n", "data: Field required"),
        ("name: a\ndata: shop\n", "data"),
        ("name: a\ndata: {source: attic}\n", "data"),
        ("\x00", "is not YAML"),
    ],
)
def test_a_config_that_is_none_is_named(gloss, run, tmp_path, command, content, said):
    config = tmp_path / "config.yaml"
    if content is not None:
        config.write_text(content)
    data = ("-d", run.data) if command == "train" else ()
    failed = gloss(command, config, *data, "-o", tmp_path / "out")
    assert failed.error.startswith(str(config))
    assert said in failed.error
    assert failed.code == WRONG_CALL


def test_a_folder_or_a_picture_is_no_config(gloss, tmp_path):
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    for config in (tmp_path, tmp_path / "picture.yaml"):
        failed = gloss("run", config, "-o", tmp_path / "out")
        assert failed.error.startswith(f"{config} ")
        assert failed.code == WRONG_CALL


def test_a_demo_refuses_what_it_does_not_know(gloss, tmp_path):
    assert "did you mean epochs?" in gloss("demo", "training.epoch=1", "-o", tmp_path / "x").error


# Purchases


def amazon(folder: Path, reviews: bytes, metadata: bytes) -> tuple[object, ...]:
    (folder / "reviews_Office_Products_5.json.gz").write_bytes(reviews)
    (folder / "meta_Office_Products.json.gz").write_bytes(metadata)
    return ("prepare", "amazon", "--category", "Office_Products", "--source", folder)


REVIEW = b'{"reviewerID": "ann", "asin": "a", "unixReviewTime": 1}\n'
ITEM = b"{'asin': 'a', 'title': 'Kite'}\n"


def _gzipped(content: bytes) -> bytes:
    """Without the time, which would give a case another name in each process."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("reviews", "metadata", "said"),
    [
        (
            _gzipped(REVIEW * 999)[:-9],
            _gzipped(ITEM),
            "reviews_Office_Products_5.json.gz",
        ),
        (REVIEW, _gzipped(ITEM), "reviews_Office_Products_5.json.gz is a damaged"),
        (_gzipped(REVIEW), b"", "meta_Office_Products.json.gz"),
        (_gzipped(REVIEW), _gzipped(ITEM)[:-1] + b"\x01", "meta_Office_Products.json.gz"),
        (_gzipped(b"no JSON\n"), _gzipped(ITEM), "--max-bad-lines 1"),
        (_gzipped(REVIEW), _gzipped(b"{'asin': 'b', 'title': 'x'}\n"), "nothing is left"),
        (_gzipped(b""), _gzipped(ITEM), "reviews_Office_Products_5.json.gz"),
    ],
)
def test_a_damaged_file_is_named(gloss, tmp_path, reviews, metadata, said):
    failed = gloss(*amazon(tmp_path, reviews, metadata), "-o", tmp_path / "data")
    assert said in failed.error
    assert failed.code == FAILURE
    assert not (tmp_path / "data").exists()


def test_a_category_that_is_not_there_is_named(gloss, tmp_path):
    out = ("--source", tmp_path, "-o", tmp_path / "data")
    assert "reviews_Cars_5.json" in gloss("prepare", "amazon", "--category", "Cars", *out).error
    failed = gloss("prepare", "amazon", "--category", "../secrets", *out)
    assert "is not a category" in failed.error
    assert failed.code == WRONG_CALL


@pytest.mark.parametrize(
    ("log", "items", "options", "said"),
    [
        ("log.csv", "items.csv", ["--title", "name"], "items.csv has no column 'name'; it has 'it"),
        ("log.csv", "items.csv", ["--user", "who"], "log.csv has no column 'who'; it has"),
        ("log.csv", "empty.csv", [], "empty.csv has no rows"),
        ("log.csv", "nameless.csv", [], "nothing is left to recommend"),
        ("log.csv", "items.csv", ["--min-purchases", "9"], "nothing is left to recommend"),
        ("log.csv", "none.csv", [], "none.csv does not exist"),
        ("none.csv", "items.csv", [], "none.csv does not exist"),
        ("notes.txt", "items.csv", [], "notes.txt: no delimiter can be told"),
        (".", "items.csv", [], "empty.csv has no column 'user'"),
    ],
)
def test_tables_that_cannot_be_read_are_named(gloss, files, log, items, options, said):
    read = ("--interactions", files / log, "--items", files / items)
    failed = gloss("prepare", "table", *read, *options, "-o", files / "data")
    assert said in failed.error
    assert failed.code == FAILURE
    assert not (files / "data").exists()


def test_a_shop_of_an_impossible_seed_is_refused(gloss, tmp_path):
    failed = gloss("prepare", "shop", "--seed", -1, "-o", tmp_path / "data")
    assert "seed" in failed.error
    assert failed.code == WRONG_CALL


# Where to write


@pytest.fixture
def writers(run, tiny_config, files):
    """Calls of every command that writes a folder, without their `-o`."""
    table = ("--interactions", files / "log.csv", "--items", files / "items.csv")
    return (
        ("prepare", "shop", "--users", 20),
        ("prepare", "table", *table),
        ("train", tiny_config, "-d", run.data),
        ("generate", "-m", run.model, "-d", run.data, "--limit-users", 2, "--beams", 1),
        ("index", "-d", run.data),
        ("rank", "-g", run.generations, "-i", run.index),
        ("baseline", "popularity", "-d", run.data),
        ("evaluate", "-r", run.ranking(OURS), "-d", run.data),
        ("run", tiny_config),
    )


def test_what_is_there_already_is_not_written_over(gloss, writers, files):
    for call in writers:
        failed = gloss(*call, "-o", files / "notes.txt")
        assert "notes.txt" in failed.error
        assert gloss(*call, "-o", files).error.startswith(f"{files} ")
        assert failed.code == FAILURE
    assert (files / "notes.txt").read_text() == "mine"


def test_an_artefact_of_another_kind_is_not_written_over(gloss, run, tmp_path):
    written = tmp_path / "generations"
    shutil.copytree(run.generations, written)
    failed = gloss("rank", "-g", written, "-i", run.index, "-o", written)
    assert f"{written} is of the kind 'generations', not 'ranking'" in failed.error
    assert sorted(p.name for p in written.iterdir()) == sorted(
        p.name for p in run.generations.iterdir()
    )


def test_a_report_is_not_written_over_a_folder(gloss, run, tmp_path):
    failed = gloss("report", run.path, "-o", tmp_path)
    assert f"cannot write {tmp_path}: Is a directory" in failed.error
    assert failed.code == FAILURE


def test_a_folder_inside_a_file_cannot_be_made(gloss, writers, files):
    for call in writers:
        failed = gloss(*call, "-o", files / "notes.txt" / "deep" / "folder")
        assert "notes.txt" in failed.error
        assert failed.code == FAILURE


# What does not fit together


def test_a_model_of_another_shop_set_is_refused(gloss, run, other_shop, tmp_path):
    failed = gloss("generate", "-m", run.model, "-d", other_shop, "-o", tmp_path / "out")
    assert f"{run.model} was made from another dataset" in failed.error
    assert str(other_shop) in failed.error
    assert failed.code == FAILURE


def test_a_ranking_of_another_shop_set_is_refused(gloss, run, other_shop, tmp_path):
    out = ("-o", tmp_path / "out")
    failed = gloss("evaluate", "-r", run.ranking(OURS), "-d", other_shop, *out)
    assert f"{run.ranking(OURS)} was made from another dataset" in failed.error


def test_generations_or_baselines_on_another_index_are_refused(
    gloss, done, run, other_shop, tmp_path
):
    done("index", "-d", other_shop, "-o", tmp_path / "index")
    searched = ("-i", tmp_path / "index", "-o", tmp_path / "out")
    failed = gloss("rank", "-g", run.generations, *searched)
    assert f"{run.generations} was made from another dataset" in failed.error
    failed = gloss("baseline", "last-item", "-d", run.data, *searched)
    assert f"{tmp_path / 'index'} was made from another dataset" in failed.error


def test_an_evaluation_of_data_that_were_not_given_is_not_reported(gloss, run, tmp_path):
    call = ("report", run.evaluation("popularity"), "-o", tmp_path / "report.html")
    failed = gloss(*call)
    assert "is of a data set that was not given: name it with -d" in failed.error
    assert gloss(*call, "-d", run.data).code == 0


def test_lists_are_not_measured_beyond_their_end(gloss, run, tmp_path):
    evaluate = ("evaluate", "-r", run.ranking(OURS), "-d", run.data, "-o", tmp_path / "out")
    failed = gloss(*evaluate, "--cutoff", 5, "--cutoff", 21)
    assert "lists of at most 20 items cannot be measured at 21" in failed.error
    assert failed.code == WRONG_CALL
    failed = gloss(*evaluate, "--cold", 9, "--regular", 6)
    assert "cold (9) must be below regular (6)" in failed.error


def test_an_unknown_ranker_is_named_beside_the_known(gloss, run, tmp_path):
    failed = gloss("baseline", "oracle", "-d", run.data, "-o", tmp_path / "out")
    known = ", ".join(spec.name for spec in RANKERS)
    assert failed.error == f"unknown ranker 'oracle' (known: {known})"
    assert failed.code == WRONG_CALL


# What is not what it should be


def test_a_folder_that_holds_something_else_is_named(gloss, run, tmp_path):
    out = ("-o", tmp_path / "out")
    nowhere = tmp_path / "nowhere"
    for wrong, kind in ((nowhere, None), (tmp_path, None), (run.index, "index")):
        calls = {
            "model": ("generate", "-m", wrong, "-d", run.data, *out),
            "dataset": ("index", "-d", wrong, *out),
            "generations": ("rank", "-g", wrong, "-i", run.index, *out),
            "ranking": ("evaluate", "-r", wrong, "-d", run.data, *out),
        }
        for wanted, call in calls.items():
            failed = gloss(*call)
            assert failed.error.startswith(f"{wrong} ")
            if kind and wanted != "model":
                assert f"is of the kind {kind!r}, not {wanted!r}" in failed.error
            assert failed.code == FAILURE
    assert gloss("rank", "-g", run.generations, "-i", run.data, *out).code == FAILURE


def test_a_folder_that_is_no_run_is_named(gloss, run, tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere", run.model):
        failed = gloss("bundle", folder, "-o", "bundle")
        assert failed.error == f"{folder} is not a run folder: it has no gloss-run.yaml"


def test_a_folder_that_is_no_bundle_is_named(gloss, run, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, wrong in (
        (empty, "is not a whole artefact: it has no manifest.json"),
        (tmp_path / "nowhere", "does not exist"),
        (run.path, "is not a whole artefact: it has no manifest.json"),
        (run.model, "is of the kind 'model', not 'bundle'"),
    ):
        failed = gloss("recommend", "-b", folder, "--history", "Kite")
        assert failed.error.startswith(f"{folder} {wrong}")


@pytest.mark.parametrize("given", [(), ("--history", "Kite", "--histories", "a.jsonl")])
def test_recommendations_are_for_one_history_or_for_a_file(gloss, given):
    failed = gloss("recommend", "-b", "x", *given)
    assert "one history (--history ID_OR_TITLE …), many (--histories FILE)" in failed.error
    assert failed.code == WRONG_CALL


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a.jsonl is empty"),
        ('["Kite"]\n\n["Kite"\n', "a.jsonl:3 is not JSON: Expecting"),
        ('["Kite"]\n{"title": "Kite"}\n', "a.jsonl:2 is not a list of ids or titles"),
        ('["Kite", 7.5]\n', "a.jsonl:1 is not a list of ids or titles"),
    ],
)
def test_histories_that_cannot_be_read_are_named_by_line(gloss, bundled, content, message):
    Path("a.jsonl").write_text(content)
    failed = gloss("recommend", "-b", bundled, "--histories", "a.jsonl")
    assert failed.error.startswith(message)
    assert "does not exist" in gloss("recommend", "-b", bundled, "--histories", "b.jsonl").error


def test_without_torch_the_extra_is_named(bundled):
    code = (
        "import sys; sys.modules['torch'] = None; "
        f"sys.argv = ['gloss', 'recommend', '-b', {str(bundled)!r}, '--history', 'Kite']; "
        "from gloss.cli.main import main; main()"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    needed = 'a language model needs an extra: pip install ".[train]" in the checkout of GLoSS'
    assert said.stderr == f"error: {needed}\n"
    assert said.returncode == WRONG_CALL


def test_what_cannot_be_reported_on_is_named(gloss, run, tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        failed = gloss("report", folder, "-o", tmp_path / "report.html")
        assert failed.error == f"{folder} is neither a run folder nor an evaluation"
    failed = gloss("report", run.model, "-o", tmp_path / "report.html")
    assert "is of the kind 'model', not 'evaluation'" in failed.error


def test_a_run_that_was_only_begun_says_what_to_do(gloss, run, tmp_path):
    shutil.copy(run.config, tmp_path / run.config.name)
    failed = gloss("report", tmp_path, "-o", tmp_path / "report.html")
    assert "has no evaluation yet: finish it with `gloss run`" in failed.error
    assert "has no ranking to serve yet" in gloss("bundle", tmp_path, "-o", "bundle").error


def test_a_damaged_artefact_is_named(gloss, run, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(run.model, model)
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    failed = gloss("generate", "-m", model, "-d", run.data, "-o", tmp_path / "out")
    assert failed.error.startswith(f"{model / 'model.safetensors'} is damaged")


ENTRY = {"reviewer_id": "ann", "asin": "a", "seen_asins": [], "generated_sequences": ["Title: x"]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"{}",
        b"[1]",
        b"[null]",
        *(
            json.dumps([{k: v for k, v in ENTRY.items() if k != name}]).encode()
            for name in ("reviewer_id", "seen_asins")
        ),
        *(
            json.dumps([{**ENTRY, name: value}]).encode()
            for name, values in (
                ("reviewer_id", (None, [1], {"a": 1}, [None])),
                ("seen_asins", (None, 1, {"a": 1}, [None])),
                ("generated_sequences", (1, [1], {"a": 1})),
            )
            for value in values
        ),
        json.dumps([{**ENTRY, "generated_sequences": "Title: x"}]).encode(),
    ],
)
def test_research_files_that_are_none_are_named(gloss, run, tmp_path, content):
    path = tmp_path / "generations.json"
    path.write_bytes(content)
    failed = gloss("rank", "-g", path, "-i", run.index, "-o", tmp_path / "out")
    assert failed.error.startswith(str(path))
    assert failed.code == FAILURE


@pytest.mark.parametrize("second", ["[]", "{", '{"reviewer_id": "bob"}'])
def test_a_wrong_line_of_a_research_file_is_named(gloss, run, tmp_path, second):
    path = tmp_path / "per_user.jsonl"
    path.write_text(f"{json.dumps(ENTRY)}\n{second}\n")
    failed = gloss("rank", "-g", path, "-i", run.index, "-o", tmp_path / "out")
    assert failed.error.startswith(f"{path}, line 2")


def test_a_research_file_of_other_users_cannot_be_measured(gloss, done, run, tmp_path):
    for entries, said in (
        ([ENTRY], "1 of its 1 users are not in it (ann)"),
        ([], "holds no users"),
    ):
        (tmp_path / "g.json").write_text(json.dumps(entries))
        done("rank", "-g", tmp_path / "g.json", "-i", run.index, "-o", tmp_path / "ranking")
        assert said in gloss("evaluate", "-r", tmp_path / "ranking", "-d", run.data).error


def test_a_research_file_with_a_user_twice_is_named_by_entry(gloss, run, tmp_path):
    (tmp_path / "g.json").write_text(json.dumps([ENTRY, ENTRY]))
    failed = gloss("rank", "-g", tmp_path / "g.json", "-i", run.index, "-o", tmp_path / "ranking")
    assert "entry 2: user ann stands in entry 1 already" in failed.error


# What the command line itself refuses


@pytest.mark.parametrize(
    "call",
    [
        ("recomend",),
        ("run",),
        ("run", "a.yaml", "--beams", "3"),
        ("prepare",),
        ("prepare", "shop"),
        ("prepare", "shop", "-o", "x", "--users", "0"),
        ("prepare", "shop", "-o", "x", "--users", "many"),
        ("prepare", "shop", "-o", "x", "--split", "random"),
        ("index", "-d", "x", "-o", "y", "--retriever", "magic"),
        ("evaluate", "-r", "x", "-d", "y", "--protocol", "fare"),
        ("evaluate", "-r", "x", "-d", "y", "--cutoff", "0"),
        ("generate", "-m", "x", "-d", "y", "-o", "z", "--limit-users", "0"),
        ("recommend", "-m", "x", "--history", "Kite", "-k", "0"),
    ],
    ids=" ".join,
)
def test_options_that_do_not_exist_are_a_wrong_call(gloss, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = gloss(*call)
    assert said.code == WRONG_CALL
    assert "Usage: gloss" in said.out + said.err
    assert "Traceback" not in said.err
    assert not list(tmp_path.iterdir())
