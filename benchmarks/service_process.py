"""A service as a process, for benchmarks that ask it. Knows no measurement."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

__all__ = ["ServiceProcess", "serving"]

_GLOSS = (sys.executable, "-c", "from gloss.cli.main import main; main()")


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """A service that listens on loopback."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def megabytes(self) -> float:
        """Memory that the process and that of its model hold now (their resident sets)."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        model = [int(number) for children in tasks for number in children.read_text().split()]
        pages = [int(Path(f"/proc/{number}/statm").read_text().split()[1])
                 for number in (self.process.pid, *model)]  # fmt: skip
        return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def require_alive(self) -> None:
        """Raise AssertionError if it has ended, or says nothing."""
        assert self.process.poll() is None, f"the service ended with {self.process.returncode}"
        with urlopen(f"http://127.0.0.1:{self.port}/livez", timeout=30) as answer:
            assert answer.status == 200


@contextmanager
def serving(bundle: Path, folder: Path, *options: str) -> Iterator[ServiceProcess]:
    """The service of a bundle with its state in a folder, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    state = str(folder / "state.db")
    command = [*_GLOSS, "serve", str(bundle), "--port", str(port), "--state", state, *options]
    with subprocess.Popen(command) as process:
        service = ServiceProcess(process, port)
        try:
            _wait_for(service)
            yield service
        finally:
            process.send_signal(signal.SIGTERM)


def _wait_for(service: ServiceProcess) -> None:
    until = time.monotonic() + 300
    while True:
        try:
            service.require_alive()
            return
        except URLError:
            assert time.monotonic() < until, "the service does not start"
            time.sleep(0.1)
