"""A Ray cluster as `Workers`."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from gloss.errors import ConfigError, on_one_line, require_extra
from gloss.progress import Progress, silent
from gloss.scale.pool import Pool, WorkerShape
from gloss.scale.worker import Surroundings
from gloss.shards import Shard, Work

__all__ = ["RayWorkers", "connected", "worker_shape", "worker_shape_here"]

T = TypeVar("T")
R = TypeVar("R")

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Ray reports its use to its makers by default, and warns of a default that will change."""


_CONNECT_SECONDS = 10.0


class RayWorkers:
    """Workers of the cluster that this process is connected to."""

    def __init__(self) -> None:
        self._spare: list[Any] = []

    def map(
        self, work: Work[T, R], shards: Sequence[Shard[T]], *, progress: Progress = silent
    ) -> Iterator[tuple[Shard[T], R]]:
        """See `Workers.map`; progress moves when a shard is finished."""
        import ray

        if not shards:
            return
        pool = Pool(
            ray.put(work), list(shards), worker_shape_here(), Surroundings.here(), self._spare
        )
        total, done = sum(len(shard.content) for shard in shards), 0
        for shard, made in pool.run():
            done += len(shard.content)
            yield shard, made
            progress(done, total)


@contextmanager
def connected(address: str) -> Iterator[RayWorkers]:
    """The workers of a cluster, until the block ends.

    address: HOST:PORT, ray://HOST:PORT, or "auto": RAY_ADDRESS or the cluster of this machine, and
    where there is none, one of this machine alone is started, and ended with the block. Raises
    ConfigError where no cluster answers.
    """
    require_extra("work on a cluster", "scale", "ray")
    import ray

    os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
    ours = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    _connect(address)
    for number, handler in ours.items():  # Ray has put its own there
        signal.signal(number, handler)
    try:
        yield RayWorkers()
    finally:
        ray.shutdown()


def worker_shape_here() -> WorkerShape:
    """That of the workers of the cluster that this process is connected to."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return worker_shape(nodes, threads=_threads())


def worker_shape(nodes: Sequence[Mapping[str, float]], *, threads: int) -> WorkerShape:
    """A GPU for each worker; in a cluster without any, a CPU for each thread, as far as the
    smallest node goes.

    >>> worker_shape([{"CPU": 8.0}, {"CPU": 2.0}, {"CPU": 0.0}], threads=4)
    WorkerShape(cpus=2.0, gpus=0, threads=4)
    >>> worker_shape([{"CPU": 8.0}, {"CPU": 64.0, "GPU": 8.0}], threads=4)
    WorkerShape(cpus=1, gpus=1, threads=4)
    """
    if any(node.get("GPU", 0) >= 1 for node in nodes):
        return WorkerShape(cpus=1, gpus=1, threads=threads)
    of_nodes = [node["CPU"] for node in nodes if node.get("CPU", 0) >= 1]
    return WorkerShape(cpus=min([threads, *of_nodes]), gpus=0, threads=threads)


def _connect(address: str) -> None:
    import ray

    _require_answer(address)
    quietly: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        ray.init(address=address, **quietly)
    except (ConnectionError, RuntimeError) as error:
        if address != "auto" or isinstance(error, RuntimeError):
            said = on_one_line(str(error))
            raise ConfigError(f"the Ray cluster {address} cannot be joined: {said}") from None
        ray.init(address="local", include_dashboard=False, **quietly)


def _require_answer(address: str) -> None:
    """Raise ConfigError where nobody listens: Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ConfigError(f"no Ray cluster answers at {address}: {error}") from None


def _threads() -> int:
    """Those that this process would compute with."""
    try:
        import torch
    except ImportError:
        return os.cpu_count() or 1
    return torch.get_num_threads()
