"""Send a service what nobody should: generated requests, and bytes that are no request.

    python benchmarks/fuzz_serving.py BUNDLE --examples 500 --rounds 200

Schemathesis (`pip install schemathesis`) makes requests, fitting and unfitting, from the OpenAPI
document of a running service, and fails at an answer of 5xx, of another type or of another shape
than the document says. Then raw sockets send slow headers, bad chunks, a gigabyte that is declared
and never sent, deep JSON, NUL, lone surrogates and a history of a million. After each round the
process must live and answer.
"""

from __future__ import annotations

import argparse
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from service_process import ServiceProcess, serving

__all__ = ["GARBAGE", "call_parser", "run_schemathesis", "send_garbage"]

_CHECKS = ",".join(
    (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    )
)
_CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 503]
"""
"""503 is what a deadline of a millisecond gets."""

_HEAD = b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_TRICKLED = 5
"""Header lines that are sent slowly; the connection is closed then, without a request."""


def _with_body(body: bytes) -> bytes:
    return _HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


GARBAGE: dict[str, Callable[[random.Random], bytes]] = {
    "declared gigabyte": lambda rng: _HEAD + b"Content-Length: 1000000000\r\n\r\n{",
    "bad chunk": lambda rng: _HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "chunk too large": lambda rng: _HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFF\r\n{",
    "two lengths": lambda rng: _HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "negative length": lambda rng: _HEAD + b"Content-Length: -1\r\n\r\n",
    "deep JSON": lambda rng: _with_body(b"[" * rng.choice([1_000, 100_000])),
    "NUL": lambda rng: _with_body(b'{"history": ["a\\u0000b"]}'),
    "lone surrogate": lambda rng: _with_body(b'{"history": ["\\ud800"]}'),
    "not UTF-8": lambda rng: _with_body(b'{"history": ["\xff\xfe"]}'),
    "history of a million": lambda rng: _with_body(
        b'{"history": [' + b'"x",' * 1_000_000 + b'"x"]}'
    ),
    "long number": lambda rng: _with_body(b'{"k": ' + b"9" * 5_000 + b"}"),
    "infinite number": lambda rng: _with_body(b'{"rules": {"minimum_score": 1e999}}'),
    "endless header": lambda rng: b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 200_000,
    "many headers": lambda rng: b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000,
    "no HTTP": lambda rng: rng.randbytes(rng.randint(1, 4_000)),
    "half a request": lambda rng: _HEAD[: rng.randint(1, len(_HEAD))],
    "path outside": lambda rng: b"GET /web/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "escaped path": lambda rng: b"GET /v1/items/%00%ff%2e%2e HTTP/1.1\r\nHost: localhost\r\n\r\n",
}
"""What is sent, by name."""


def send_garbage(port: int, sent: bytes, *, seconds: float = 0.5) -> int | None:
    """The status of the answer; None where the connection was closed without one, or waits on."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            connection.sendall(sent)
            connection.settimeout(seconds)
            answer = connection.recv(64)
        except (TimeoutError, ConnectionError):
            return None
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else None


def call_parser() -> argparse.ArgumentParser:
    """What the script takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--examples", type=int, default=100, help="for each operation")
    parser.add_argument("--rounds", type=int, default=20, help="of all raw garbage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--schemathesis", default="schemathesis", help="the program")
    return parser


def main() -> None:
    call = call_parser().parse_args()
    folder = Path(tempfile.mkdtemp())
    with serving(call.bundle, folder) as service:
        _schemathesis(service, call)
        _raw(service, call.rounds, random.Random(call.seed))
        service.require_alive()
    shutil.rmtree(folder)


def _schemathesis(service: ServiceProcess, call: argparse.Namespace) -> None:
    if shutil.which(call.schemathesis) is None:
        print("schemathesis is not installed: raw garbage only")
        return
    url = f"http://127.0.0.1:{service.port}/v1/openapi.json"
    code = run_schemathesis(call.schemathesis, url, call.examples, call.seed)
    service.require_alive()
    if code:
        sys.exit("schemathesis has found answers that the document does not allow")


def run_schemathesis(program: str, url: str, examples: int, seed: int) -> int:
    """Its exit code: 0 if every answer was as the document at the URL says."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "schemathesis.toml"
        config.write_text(_CONFIG)
        bounds = ("--max-examples", str(examples), "--seed", str(seed), "--continue-on-failure")
        command = [program, "--config-file", str(config), "run", url, "--checks", _CHECKS, *bounds]
        return subprocess.run(command, check=False, cwd=folder).returncode


def _raw(service: ServiceProcess, rounds: int, rng: random.Random) -> None:
    statuses: Counter[tuple[str, int | None]] = Counter()
    before = service.megabytes
    for _ in range(rounds):
        for name, make in GARBAGE.items():
            statuses[name, send_garbage(service.port, make(rng))] += 1
        _trickle(service.port)
        service.require_alive()
    for (name, status), count in sorted(statuses.items(), key=str):
        print(f"{name:<24}{status or 'closed':>8}{count:>8}")
    print(f"memory: {before:.0f} MB before, {service.megabytes:.0f} MB after")
    assert not [status for _, status in statuses if status is not None and status >= 500], "5xx"


def _trickle(port: int) -> None:
    """Headers that come one by one."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        for number in range(_TRICKLED):
            connection.sendall(f"X-{number}: x\r\n".encode())
            time.sleep(0.02)


if __name__ == "__main__":
    main()
