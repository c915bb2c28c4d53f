"""Kill -9 a service while events are posted to it, again and again, and look for what it answered.

By hand, 200 times on each database (about 10 minutes):

    python tests/killed_services.py BUNDLE --kills 200
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from processes import Processes
from services import wait_until

__all__ = ["MODULES", "Outcome", "free_port", "kill_while_posting", "wait_for"]

MODULES = ("gloss.serving.server", "gloss.serving.model_process", "gloss.serving.state.store")
"""What a process server imports for services to start at once."""

_USERS = 5


@dataclass
class Outcome:
    """Events by id: those that were sent, those that were acknowledged, and those found later."""

    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    found: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Every acknowledged event is there, none twice, and none that nobody sent."""
        assert self.acknowledged <= set(self.found)
        assert len(self.found) == len(set(self.found))
        assert set(self.found) <= self.sent


def kill_while_posting(
    processes: Processes, bundle: Path, state: str, *, kills: int, rng: random.Random
) -> Outcome:
    """Start a service, post to it, kill it; at last start it once more and read everything."""
    outcome, retried = Outcome(), []
    for _ in range(kills):
        port = free_port()
        process = processes.start("serve", bundle, "--port", port, "--state", state)
        wait_for(port)
        posting = [
            threading.Thread(target=_post, args=(port, outcome, retried, rng.random()))
            for _ in range(3)
        ]
        for thread in posting:
            thread.start()
        before = len(outcome.acknowledged)
        wait_until(lambda before=before: len(outcome.acknowledged) > before)
        time.sleep(rng.uniform(0, 0.3))
        os.kill(process, signal.SIGKILL)
        processes.wait()
        for thread in posting:
            thread.join()
    port = free_port()
    process = processes.start("serve", bundle, "--port", port, "--state", state)
    wait_for(port)
    outcome.found = _everything(port)
    os.kill(process, signal.SIGTERM)
    code, _, said = processes.wait()
    assert code == 0, said
    return outcome


def _post(port: int, outcome: Outcome, retried: list[list[dict]], seed: float) -> None:
    """Post events until the service is gone; what had no answer is sent again the next time."""
    rng = random.Random(seed)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        while True:
            events = retried.pop() if retried else _events(rng)
            outcome.sent |= {each["id"] for each in events}
            try:
                answer = client.post("/v1/events", json={"events": events})
            except httpx.TransportError:
                retried.append(events)
                return
            assert answer.status_code == 200, answer.text
            outcome.acknowledged |= {each["id"] for each in events}


def _events(rng: random.Random) -> list[dict]:
    return [
        {"id": f"{rng.getrandbits(64):x}", "user": f"u{rng.randrange(_USERS)}", "item": "i"}
        for _ in range(rng.randint(1, 20))
    ]


def _everything(port: int) -> list[str]:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        answers = [client.get(f"/v1/users/u{user}/export").json() for user in range(_USERS)]
    return [event["event"] for answer in answers for event in answer["events"]]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until a service answers."""
    until = time.monotonic() + 120
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/livez")
            return
        except httpx.TransportError:
            assert time.monotonic() < until, "the service does not start"
            time.sleep(0.02)


def _main() -> None:
    from databases import postgresql, postgresql_programs

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    wanted = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    with Processes.started(folder, *MODULES) as processes:

        def report(state: str) -> None:
            rng = random.Random(0)
            outcome = kill_while_posting(
                processes, wanted.bundle, state, kills=wanted.kills, rng=rng
            )
            outcome.check()
            acknowledged, sent = len(outcome.acknowledged), len(outcome.sent)
            print(f"{state.split(':')[0]}: {wanted.kills} kills, {sent} events sent, "
                  f"{acknowledged} acknowledged, all of these there, none twice")  # fmt: skip

        report(str(folder / "state.db"))
        if programs := postgresql_programs():
            with postgresql(programs) as url:
                report(url)


if __name__ == "__main__":
    _main()
