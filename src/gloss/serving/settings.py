"""How a service is run: bounds that whoever runs it chooses."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from gloss.serving.arms import Experiment

__all__ = ["ServingSettings", "is_loopback"]


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """Bounds of a service.

    max_batch: histories that are decoded together. max_waiting: requests that wait before others
    are refused with 429. deadline_seconds: how long a request may take, waiting included.
    body_seconds: how long a client may take to send a body. name: of what is served, for people.
    report: the page of the run that it was made of, which is shown with it. experiment: which
    of two recommenders a user is given, where two are served.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    max_batch: int = 32
    max_waiting: int = 256
    deadline_seconds: float = 30.0
    name: str = ""
    report: Path | None = None
    experiment: Experiment | None = None
    max_body_bytes: int = 1 << 20
    body_seconds: float = 10.0


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address.

    >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "0.0.0.0", "127.0.0.1.example")]
    [True, True, False, False]
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
