"""A PostgreSQL of Debian's package, started for a test and ended after it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["postgresql", "postgresql_programs"]

_USER = "postgres"
_AS_USER = {"user": _USER} if os.geteuid() == 0 else {}  # it refuses to run as root


def postgresql_programs() -> Path | None:
    """The folder of the newest PostgreSQL's programs; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@contextmanager
def postgresql(programs: Path) -> Iterator[str]:
    """The URL of an empty database, until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="gloss-postgresql-"))
    if _AS_USER:
        shutil.chown(folder, _USER)
    data = str(folder / "data")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **_AS_USER}
    subprocess.run(
        [programs / "initdb", "-D", data, "-A", "trust", "-U", "gloss", "--no-sync"],
        check=True,
        **quiet,
    )
    port = _free_port()
    addresses = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, "-p", str(port), *addresses], **quiet
    )
    try:
        _wait_for(port)
        yield f"postgresql://gloss@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()  # waits for connections to be closed
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.send_signal(2)  # SIGINT: closes them
            server.wait(10)
        shutil.rmtree(folder)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _wait_for(port: int) -> None:
    import psycopg

    until = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="gloss", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
