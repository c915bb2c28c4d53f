"""`--ray` on two real nodes: the same bytes, whoever is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gloss.errors import ConfigError, GlossError, InputError
from gloss.shards import Workers, shards_of
from processes import TINY, visible_bytes
from ray_nodes import held, workers_on
from services import wait_until

_BUSY = 180
"""Seconds after which even a busy machine should have done something."""


@pytest.fixture(scope="module")
def tiny(processes, tmp_path_factory) -> Path:
    """A folder with the run of an experiment on this machine alone, "whole", and its settings."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.yaml").write_text(TINY + "rankers: {use: [transitions], length: 20}\n")
    ended = processes.gloss("run", "tiny.yaml", "-o", "whole", where=folder)
    assert ended.code == 0, ended.stderr
    return folder


@pytest.fixture(scope="module")
def workers(nodes) -> Iterator[Workers]:
    """Those of the cluster, for this process."""
    from gloss.scale.cluster import connected

    with connected(nodes[0]) as joined:
        yield joined


def generating(tiny: Path, out: Path, *more: object) -> tuple[object, ...]:
    return (
        *("generate", "-m", tiny / "whole" / "model", "-d", tiny / "whole" / "data"),
        *("--beams", 16, "--shard-users", 2, "-o", out, *more),
    )


def shards_of_call(out: Path) -> int:
    """How many shards a call that is not finished has put away."""
    noted = out.with_name(f".{out.name}.partial") / ".parts.jsonl"
    return noted.read_bytes().count(b"\n") if noted.exists() else 0


def test_a_run_on_two_nodes_has_the_bytes_of_one_machines(processes, tiny, address):
    ended = processes.gloss("run", "tiny.yaml", "-o", "spread", "--ray", address, where=tiny)
    assert ended.code == 0, ended.stderr
    made, alone = visible_bytes(tiny / "spread"), visible_bytes(tiny / "whole")
    assert made.keys() == alone.keys()
    assert [name for name in made if made[name] != alone[name]] == []


def test_what_the_work_raises_ends_the_call_as_it_does_here(workers):
    class Fails:
        def __call__(self, content, progress, /):
            raise InputError(f"no room for {content[0]}")

    with pytest.raises(InputError, match=r"^no room for a$"):
        list(workers.map(Fails(), shards_of("a", 1)))


def test_a_worker_that_ends_cleanly_is_one_that_died(workers, tmp_path):
    class EndsOnce:
        def __call__(self, content, progress, /):
            ended = tmp_path / str(content[0])
            if content[0] == "b" and not ended.exists():
                ended.touch()
                os._exit(0)
            return content[0].upper()

    done = workers.map(EndsOnce(), shards_of("abc", 1))
    made = [(shard.number, each) for shard, each in done]
    assert sorted(made) == [(0, "A"), (1, "B"), (2, "C")]


def test_a_shard_that_kills_every_worker_is_named(workers):
    class Dies:
        def __call__(self, content, progress, /):
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(GlossError, match=r"5 workers .* shard 0 "):
        list(workers.map(Dies(), shards_of("a", 1)))


def test_nothing_answers_at_a_wrong_address():
    pytest.importorskip("ray", reason="needs the extra scale")
    from gloss.scale.cluster import connected

    with pytest.raises(ConfigError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"):
        connected("127.0.0.1:1").__enter__()


def test_a_node_with_another_version_is_named():
    from dataclasses import replace

    from gloss.scale.worker import Surroundings

    there = replace(Surroundings.here(), versions={"numpy": "0.1"})
    with pytest.raises(ConfigError, match=r"has numpy [\d.]+, .* has 0\.1: install the same"):
        there.enter()


def test_a_call_that_was_killed_goes_on_without_the_cluster(processes, tiny, address):
    assert processes.gloss(*generating(tiny, tiny / "alone")).code == 0
    process = processes.start(*generating(tiny, tiny / "cut", "--ray", address))
    wait_until(lambda: shards_of_call(tiny / "cut") >= 3, seconds=_BUSY)
    os.kill(process, signal.SIGKILL)
    processes.wait()
    assert not (tiny / "cut").exists()
    assert processes.gloss(*generating(tiny, tiny / "cut")).code == 0
    assert visible_bytes(tiny / "cut") == visible_bytes(tiny / "alone")


def test_a_node_that_is_killed_loses_and_doubles_nothing(processes, tiny, nodes):
    """The last one: the node stays dead."""
    address, (first, second) = nodes
    out = tiny / "node-killed"
    processes.start(*generating(tiny, out, "--ray", address))
    wait_until(lambda: shards_of_call(out) >= 1, seconds=_BUSY)
    with held(workers_on(first)):  # or it may have done all before the second has begun
        done = shards_of_call(out)
        wait_until(lambda: shards_of_call(out) >= done + 2, seconds=_BUSY)
        assert workers_on(second)
        second.kill()
    status, _, said = processes.wait()
    assert status == 0, said
    assert "a worker has died over shard" in said
    assert visible_bytes(out) == visible_bytes(tiny / "alone")
