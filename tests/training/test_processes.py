"""Several processes train as one does: real ones, started by torchrun, that talk by gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from gloss.training.data_parallel import own_part
from processes import ENVIRONMENT, visible_bytes
from tiny_llama import make_base, make_shop, one_thread
from trained_together import NEEDS, TRAININGS, interrupted, write_lists

TESTS = Path(__file__).parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
CLOSE = 1e-4


def started(*arguments: object) -> subprocess.CompletedProcess[str]:
    """A call by torchrun, to its end."""
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    return subprocess.run(
        [*TORCHRUN, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def names() -> list[str]:
    return [name for name in TRAININGS if find_spec(NEEDS.get(name, "torch"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What two processes did, after one had begun some of it."""
    made: Path = tmp_path_factory.mktemp("together")
    make_base(made / "base", make_shop(made / "shop"))
    with one_thread():
        expected = {name: TRAININGS[name](made / f"{name}-alone.pt") for name in names()}
        (made / "expected.json").write_text(json.dumps(expected))
        for name in names():
            interrupted(name, made / f"{name}-by-one.pt")
    ended = started(TESTS / "trained_together.py", made, *names())
    assert ended.returncode == 0, ended.stderr
    return made


@pytest.fixture(scope="module")
def results(folder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


@pytest.fixture(params=TRAININGS)
def name(request) -> str:
    if request.param not in names():
        pytest.skip(f"needs {NEEDS[request.param]}")
    found: str = request.param
    return found


@pytest.fixture
def expected(name, folder) -> list[Any]:
    """What one process came to."""
    rows = json.loads((folder / "expected.json").read_text())[name]
    return [pytest.approx(row, abs=CLOSE) for row in rows]


def test_two_processes_have_the_losses_and_weights_of_one(name, results, expected):
    assert results[name] == expected


def test_two_processes_go_on_where_one_was_interrupted(name, results, expected):
    assert results[f"{name}, gone on"] == expected


def test_one_process_goes_on_where_two_were_interrupted(name, folder, expected):
    begun = [
        *folder.glob(f"{name}-by-two.pt"),
        *folder.glob(f".{name}-by-two.partial/checkpoints/*"),
    ]
    assert begun
    with one_thread():
        assert TRAININGS[name](folder / f"{name}-by-two.pt") == expected


@pytest.mark.filterwarnings("ignore:decoding takes the slower path:RuntimeWarning")
def test_two_processes_write_the_same_bytes_for_users_as_one(folder):
    with one_thread():
        write_lists(folder, "alone")
    assert visible_bytes(folder / "together") == visible_bytes(folder / "alone")
    assert len([*(folder / "together").glob("part-*.jsonl")]) == 5  # of 18 users, 4 a file


def test_work_of_one_process_is_refused_with_one_line():
    ended = started("-m", "gloss", "evaluate", "-r", "lists", "-d", "data", "-o", "out")
    assert ended.returncode != 0
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert errors == [
        "error: gloss evaluate is work of one process: start it without torchrun, which is for "
        "train, generate, baseline"
    ]


@pytest.fixture
def second_of_two(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")


def test_a_part_weighs_as_many_targets_as_it_has(second_of_two):
    # from the largest on, forth and back: 9 | 8 7 | 6 5
    part = own_part([5, 9, 7, 8, 6], [1, 2, 3, 4, 5])
    assert part.rows == [2, 3]
    assert part.weight == (3 + 4) / (1 + 2 + 3 + 4 + 5)


def test_a_process_without_a_part_reads_along_for_nothing(second_of_two):
    part = own_part([4], [3])
    assert (part.rows, part.weight) == ([0], 0.0)
