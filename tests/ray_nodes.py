"""A Ray cluster of real nodes on this machine, started with `ray start`, which tests may kill."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Node", "cluster", "held", "workers_on"]

_OURS = (b"ray::Worker", b"ray::ServeReplica")
"""How Ray calls the processes that do our work."""

_STORE_BYTES = 80_000_000
_STARTS = 3
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",  # 15 by default: beside busy processes they would starve
}


@dataclass(frozen=True, slots=True)
class Node:
    """The processes that `ray start` has begun; their process group is its own."""

    group: int

    def kill(self) -> None:
        """SIGKILL for all of its processes at once, those of its workers among them."""
        _signal_all(self.processes(), signal.SIGKILL)

    def processes(self) -> list[int]:
        """Its processes; the last ones are its workers, which have groups of their own."""
        table = _process_table()
        found = [each for each, (_, group) in table.items() if group == self.group]
        for process in found:  # grows while it is read
            found += [each for each, (parent, _) in table.items()
                      if parent == process and each not in found]  # fmt: skip
        return found


@contextmanager
def cluster(nodes: int, *, cpus: int = 1) -> Iterator[tuple[str, list[Node]]]:
    """The address of a cluster of nodes with so many CPUs each, and the nodes, the head first."""
    folder = Path(tempfile.mkdtemp(prefix="gloss-ray-"))  # short: it is part of sockets' names
    address = f"127.0.0.1:{_free_port()}"
    port = address.rpartition(":")[2]
    head = ("--head", "--port", port, "--temp-dir", str(folder), "--include-dashboard", "false")
    started = []
    try:
        started.append(_start(*head, cpus=cpus))
        started += [_start("--address", address, cpus=cpus) for _ in range(nodes - 1)]
        yield address, started
    finally:
        for node in started:
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)


def workers_on(node: Node) -> list[int]:
    """The processes of a node that do our work."""
    return [each for each in node.processes() if _command(each).startswith(_OURS)]


@contextmanager
def held(processes: list[int]) -> Iterator[None]:
    """Processes stand still until the block ends."""
    _signal_all(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal_all(processes, signal.SIGCONT)


def _signal_all(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def _start(*arguments: str, cpus: int) -> Node:
    """A node. Ray gives up where one takes longer than half a minute, as on a busy machine."""
    for _ in range(_STARTS):
        node, code = _try_to_start(*arguments, cpus=cpus)
        if code == 0:
            return node
        node.kill()
    raise AssertionError(f"no Ray node could be started ({code})")


def _try_to_start(*arguments: str, cpus: int) -> tuple[Node, int | None]:
    """A node, and the code that `ray start` ended with; None where it hangs."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments]
    started = subprocess.Popen(
        [*command, "--num-cpus", str(cpus), "--object-store-memory", str(_STORE_BYTES)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | _QUIET,
        start_new_session=True,
    )
    with suppress(subprocess.TimeoutExpired):
        started.wait(300)
    return Node(started.pid), started.returncode


def _process_table() -> dict[int, tuple[int, int]]:
    """Of every process its parent and its process group."""
    table = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            table[int(folder.name)] = int(fields[1]), int(fields[2])
    return table


def _command(process: int) -> bytes:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
