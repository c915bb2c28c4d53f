"""Load on a service, from the machine that it runs on: both share its cores.

    python benchmarks/serving.py BUNDLE --seconds 15

Four measurements, each with a service of its own:

1. one by one: a single client, and `--max-batch 1` at saturation: nothing is decoded together
2. saturation: 64 clients that ask as soon as they are answered
3. at 70 % of that, in an open loop (requests come by chance, whether others are answered or not):
   the times of answers
4. at ten times that: what is answered in time, how soon others are refused, and the memory

With `--requests` so many are asked by 64 clients instead, and memory is printed ten times.

Histories are three titles of the catalogue, by chance. Clients write bytes to sockets: a client
library would take as much of the cores as the service. Prints a table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gloss.recommender.bundle import open_bundle
from machine import processor
from service_process import ServiceProcess, serving

__all__ = ["call_parser"]

_CLIENTS = 64
_OVERLOAD = 10
_MAX_CONNECTIONS = 512
"""Of an open loop: who comes when all of them wait is not sent, and counted so."""

_STEP_SECONDS = 2.0

_REQUESTS = 512
"""Different requests, sent again and again."""


@dataclass
class Outcome:
    """Answers by their status, with their times; seconds: how long was asked.

    refused: at once (429); late: let in, and not answered before the deadline (503).
    """

    seconds: float = 0.0
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    late: int = 0
    failed: int = 0
    unsent: int = 0

    @property
    def rate(self) -> float:
        """Lists a second."""
        return len(self.answered) / self.seconds

    @property
    def asked(self) -> int:
        """Requests that were sent."""
        return len(self.answered) + len(self.refused) + self.late + self.failed

    def add(self, status: int, seconds: float) -> None:
        """Count an answer."""
        if status == 200:
            self.answered.append(seconds)
        elif status == 429:
            self.refused.append(seconds)
        elif status == 503:
            self.late += 1
        else:
            self.failed += 1


class Connection:
    """A connection that is kept: bytes out, status in."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> int:
        """The status of the answer; its body is read and dropped."""
        for is_last in (False, True):
            try:
                return await self._ask(request)
            except (ConnectionError, asyncio.IncompleteReadError):
                self._streams = None  # it was closed while nothing was asked: open another
                if is_last:
                    return 0
        raise AssertionError

    async def _ask(self, request: bytes) -> int:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        return int(head.split()[1])

    def close(self) -> None:
        """Close it."""
        if self._streams is not None:
            self._streams[1].close()


def requests_of(bundle: Path, rng: random.Random) -> list[bytes]:
    """Requests for lists, as bytes."""
    titles = [item.title for item in open_bundle(bundle).catalogue]
    return [_request({"history": rng.choices(titles, k=3), "k": 10}) for _ in range(_REQUESTS)]


def _request(body: object) -> bytes:
    content = json.dumps(body).encode()
    head = (
        "POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def closed_loop(
    port: int, requests: Sequence[bytes], *, clients: int, seconds: float
) -> Outcome:
    """Clients that ask as soon as they are answered."""
    outcome, until = Outcome(seconds), time.monotonic() + seconds

    async def client(number: int) -> None:
        connection, turn = Connection(port), number
        while (began := time.monotonic()) < until:
            status = await connection.ask(requests[turn % len(requests)])
            outcome.add(status, time.monotonic() - began)
            turn += clients
        connection.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return outcome


async def open_loop(
    port: int, requests: Sequence[bytes], rng: random.Random, *, rate: float, seconds: float
) -> Outcome:
    """Requests that come by chance (a Poisson process), however many wait already."""
    outcome, idle, asked = Outcome(seconds), [], set()
    began = now = time.monotonic()
    opened = 0

    async def one(connection: Connection, request: bytes, due: float) -> None:
        outcome.add(await connection.ask(request), time.monotonic() - due)
        idle.append(connection)

    while (now := now + rng.expovariate(rate)) < began + seconds:
        if (pause := now - time.monotonic()) > 0:
            await asyncio.sleep(pause)
        if not idle and opened == _MAX_CONNECTIONS:
            outcome.unsent += 1
            await asyncio.sleep(0)
            continue
        opened += not idle
        connection = idle.pop() if idle else Connection(port)
        task = asyncio.create_task(one(connection, rng.choice(requests), time.monotonic()))
        asked.add(task)
        task.add_done_callback(asked.discard)
        await asyncio.sleep(0)
    await asyncio.gather(*asked)
    for connection in idle:
        connection.close()
    return outcome


def percentile(seconds: Sequence[float], share: float) -> float:
    """Milliseconds that this share of the times does not exceed."""
    if not seconds:
        return float("nan")
    return 1000 * sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]


def report(name: str, outcome: Outcome) -> None:
    """One row."""
    p50, p99 = (percentile(outcome.answered, share) for share in (0.5, 0.99))
    print(
        f"{name:<34}{outcome.rate:>9.1f}{p50:>9.0f}{p99:>9.0f}{len(outcome.refused):>9}"
        f"{outcome.late:>8}{outcome.failed:>8}{outcome.unsent:>8}",
        flush=True,
    )


def measured(
    bundle: Path,
    requests: Sequence[bytes],
    ask: Callable[[ServiceProcess], Awaitable[Outcome]],
    *options: str,
) -> Outcome:
    """Ask a fresh service, after it has been warmed up."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(bundle, Path(folder), *options) as service,
    ):

        async def run() -> Outcome:
            await closed_loop(service.port, requests, clients=8, seconds=2)
            return await ask(service)

        return asyncio.run(run())


def print_memory(bundle: Path, requests: Sequence[bytes], count: int) -> None:
    """Ask so many times, and print what the service holds after each tenth of them."""
    with tempfile.TemporaryDirectory() as folder, serving(bundle, Path(folder)) as service:

        async def run() -> None:
            asked = 0
            for tenth in range(1, 11):
                while asked < count * tenth // 10:
                    outcome = await closed_loop(
                        service.port, requests, clients=_CLIENTS, seconds=_STEP_SECONDS
                    )
                    assert len(outcome.answered) == outcome.asked
                    asked += len(outcome.answered)
                print(f"{asked:>9,} requests: {service.megabytes:.0f} MB", flush=True)

        asyncio.run(run())


def call_parser() -> argparse.ArgumentParser:
    """What the script takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=15, help="of each measurement")
    parser.add_argument("--requests", type=int, help="so many for memory, and nothing else")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main() -> None:
    call = call_parser().parse_args()
    rng = random.Random(call.seed)
    bundle, seconds = call.bundle, call.seconds
    requests = requests_of(bundle, rng)
    if call.requests is not None:
        print_memory(bundle, requests, call.requests)
        return
    print(f"{processor()}; load before: {os.getloadavg()[0]:.1f}")
    print(
        f"{'':<34}{'lists/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'refused':>9}"
        f"{'late':>8}{'failed':>8}{'unsent':>8}"
    )

    def closed(clients: int) -> Callable[[ServiceProcess], Awaitable[Outcome]]:
        return lambda s: closed_loop(s.port, requests, clients=clients, seconds=seconds)

    alone = measured(bundle, requests, closed(1))
    report("one client", alone)
    single = measured(bundle, requests, closed(_CLIENTS), "--max-batch", "1")
    report(f"{_CLIENTS} clients, --max-batch 1", single)
    peak = measured(bundle, requests, closed(_CLIENTS))
    report(f"{_CLIENTS} clients", peak)
    usual = measured(
        bundle,
        requests,
        lambda s: open_loop(s.port, requests, rng, rate=0.7 * peak.rate, seconds=seconds),
    )
    report("70 % of that, open loop", usual)

    async def overload(service: ServiceProcess) -> Outcome:
        before = service.megabytes
        rate = _OVERLOAD * peak.rate
        outcome = await open_loop(service.port, requests, rng, rate=rate, seconds=seconds)
        print(f"memory: {before:.0f} MB before the overload, {service.megabytes:.0f} MB after")
        return outcome

    flooded = measured(bundle, requests, overload, "--max-waiting", "64", "--deadline", "2")
    report(f"{_OVERLOAD} times that, open loop", flooded)
    refused = percentile(flooded.refused, 0.5), percentile(flooded.refused, 0.99)
    print(f"refused within {refused[0]:.0f} ms (p50), {refused[1]:.0f} ms (p99)")
    one_by_one = statistics.fmean([alone.rate, single.rate])
    print(f"saturation / one client: {peak.rate / alone.rate:.2f}, / batches of one: "
          f"{peak.rate / single.rate:.2f}, / their mean: {peak.rate / one_by_one:.2f}")  # fmt: skip
    print(f"overloaded / saturation: {flooded.rate / peak.rate:.2f}; load after: "
          f"{os.getloadavg()[0]:.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
