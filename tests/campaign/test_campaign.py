"""A small part of the campaign; `make campaign` is the whole of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from campaign import faults, flips, fuzz, hostile, kills, natives
from campaign.__main__ import _document, joined
from campaign.artefacts import make_all
from campaign.ledger import Row, judged, table_of
from gloss.artifacts import MANIFEST
from processes import TINY, Ended, Processes

SEED = 7


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return faults.compiled(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def processes(library, tmp_path_factory):
    """Real processes, whose disk can be made a bad one."""
    with Processes.started(tmp_path_factory.mktemp("processes"), preload=library) as server:
        yield server


@pytest.fixture(scope="module")
def made(processes, tmp_path_factory):
    smaller = "data.users=40", "decoding.beams=2", "decoding.shard_users=20"
    return make_all(processes, tmp_path_factory.mktemp("made"), *smaller, only_run=True)


def nothing_is_bad(rows: list[Row]) -> bool:
    assert sum(row.tried for row in rows) > 0
    assert not [example for row in rows for example in row.examples], table_of(rows)
    return True


def test_every_flipped_bit_is_named(made, tmp_path):
    rows = flips.flip_bits(made, tmp_path, trials=30, seed=SEED)
    assert nothing_is_bad(rows)
    assert all(row.outcomes["refused"] == row.tried for row in rows)


@pytest.mark.parametrize(
    "case", hostile.CASES[::4], ids=lambda case: f"{case.artefact}: {case.name}"
)
def test_a_hostile_artefact_is_one_line(case, processes, made, tmp_path):
    if case.artefact not in made:
        pytest.skip("the campaign makes this artefact; it takes an encoder")
    outcome, said = hostile.try_one(processes, case, made, tmp_path)
    assert outcome == "refused", said


def test_parts_that_are_run_one_by_one_come_together_by_their_seed():
    def document(seed: int, *rows: Row) -> dict[str, Any]:
        return _document(rows, {row.part: 1.0 for row in rows}, seed)

    flips, kills_, more = Row("flips", "a"), Row("kills", "b"), Row("flips", "c")
    for row, outcomes in ((flips, ["refused"] * 3), (kills_, ["killed"]), (more, ["changed"])):
        for outcome in outcomes:
            row.add(outcome)
    both = joined(document(1, flips), document(1, kills_))
    assert [row["part"] for row in both["rows"]] == ["kills", "flips"]
    assert (both["tried"], both["bad"]) == (3 + 1, 0)
    assert both["seconds"] == {"flips": 1.0, "kills": 1.0}
    again = joined(both, document(1, more))
    assert [row["case"] for row in again["rows"]] == ["b", "c"]
    assert (again["tried"], again["bad"]) == (1 + 1, 1)
    assert joined(both, document(2, more)) == document(2, more)


def test_what_is_trained_on_a_cpu_says_with_how_many_threads(made):
    summaries = {
        name: json.loads((made[name] / MANIFEST).read_bytes())["summary"]
        for name in ("language model", "ranker, trained")
    }
    expected = {"threads": 1} if not torch.cuda.is_available() else {}  # of `ENVIRONMENT`
    for name, summary in summaries.items():
        assert {key: summary[key] for key in summary if key == "threads"} == expected, name


def test_every_artefact_is_read_as_it_is(processes, made):
    for artefact, function in {(case.artefact, case.function) for case in hostile.CASES}:
        if artefact in made:
            path, data = str(made[artefact]), str(made["data set"])
            ended = processes.call(f"campaign.natives:{function}", path, data)
            assert judged(ended) == "well", ended.stderr


def test_mutated_files_are_read_or_refused(processes, made, tmp_path):
    assert nothing_is_bad(natives.mutate(processes, made, tmp_path, trials=8, seed=SEED))


def test_configurations_are_settings_or_one_line(tmp_path):
    assert nothing_is_bad(fuzz.try_configurations(tmp_path, trials=60, seed=SEED))


def test_a_bad_disk_loses_nothing(library, processes, tmp_path):
    if library is None:
        pytest.skip("there is no C compiler here")
    shop = "prepare", "shop", "--users"
    calls = faults.Calls((*shop, 40), (*shop, 41), share=0.05)
    assert nothing_is_bad(faults.inject(processes, calls, tmp_path, trials=8, seed=SEED))


def test_a_killed_change_stands_in_the_old_version_or_the_new_one(processes, tmp_path):
    places = {"": tmp_path / "out"}
    changes = ("items add", "items remove")
    rows = kills.kill(processes, tmp_path, places, trials=4, seed=SEED, names=changes)
    assert nothing_is_bad(rows)


def test_commands_that_read_run_nothing_foreign_and_call_nobody(processes, made, tmp_path):
    run, bundle, ranking = made["data set"].parent, tmp_path / "bundle", tmp_path / "ranking"
    calls = (
        ("rank", "-g", made["generations"], "-i", made["index, lexical"], "-o", ranking),
        ("evaluate", "-r", ranking, "-d", made["data set"], "-o", tmp_path / "evaluation"),
        ("report", run, "-o", tmp_path / "page.html", "--tables", tmp_path / "tables"),
        ("bundle", run, "-o", bundle),
        ("recommend", "-b", bundle, "--history", "shop-0001"),
    )
    for call in calls:
        assert judged(processes.gloss(*call, watched=True)) == "well", call


def test_a_whole_run_starts_no_process_and_calls_nobody(processes, tmp_path):
    call = ("run", tmp_path / "tiny.yaml", "data.users=20", "decoding.beams=2")
    (tmp_path / "tiny.yaml").write_text(TINY)
    assert judged(processes.gloss(*call, "-o", tmp_path / "run", watched=True)) == "well"


@pytest.mark.parametrize(
    ("function", "arguments", "event"),
    [
        ("os:system", ["true"], "os.system"),
        ("subprocess:call", ["true"], "subprocess.Popen"),
        ("socket:gethostbyname", ["localhost"], "socket.gethostbyname"),
        ("runpy:run_path", ["{folder}/evil.py"], "exec {folder}/evil.py"),
        ("numpy:load", ["{folder}/evil.npy", None, 1], "pickle.find_class"),
    ],
)
def test_what_must_not_happen_is_seen(processes, tmp_path, function, arguments, event):
    (tmp_path / "evil.py").write_text("")
    np.save(tmp_path / "evil.npy", np.array([Path("evil")], dtype=object), allow_pickle=True)
    named = [each.format(folder=tmp_path) if isinstance(each, str) else each for each in arguments]
    ended = processes.call(function, *named)
    assert f"watched: {event.format(folder=tmp_path)}" in ended.stderr
    assert judged(ended) == "ran"


@pytest.mark.parametrize(
    ("ended", "outcome"),
    [
        (Ended(0, "made", "", 1.0), "well"),
        (Ended(0, "made", "watched: os.system\n", 1.0), "ran"),
        (Ended(1, "", "note\nerror: no such file\n", 1.0), "refused"),
        (Ended(1, "", "error: one\nerror: two\n", 1.0), "words"),
        (Ended(1, "", "error: no such file\nmore\n", 1.0), "words"),
        (Ended(99, "", "Traceback (most recent call last):\n", 1.0), "traceback"),
        (Ended(None, "", "", 1.0, signal=6), "death"),
        (Ended(None, "", "", 1.0, signal=9, hung=True), "hang"),
    ],
)
def test_an_end_is_judged_by_its_code_and_its_last_line(ended, outcome):
    assert judged(ended) == outcome
