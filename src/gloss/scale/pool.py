"""Shards to actors and back. Ray starts processes and carries data; which shard is done where, and
again after a death, is decided here: Ray's own retries have no end, and an actor that exits cleanly
can leave them waiting for ever.

A worker is an actor that is never restarted. Whatever ends it (a kill, its node, too little memory,
a clean exit), its shard goes to the next one, and another takes its place if there is room.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gloss.errors import GlossError, on_one_line
from gloss.scale.worker import Surroundings, Worker
from gloss.shards import Shard

__all__ = ["Pool", "WorkerShape"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_MAX_TRIES = 5
"""Workers that may die over one shard, or in a row while they start."""
_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class WorkerShape:
    """What each worker takes of a node, and the threads that it computes with."""

    cpus: float
    gpus: float
    threads: int

    @property
    def environment(self) -> dict[str, str]:
        """The variables that it starts with: with other numbers of threads sums may have other last
        bits, and threads that spin while they wait take the time of other workers on the node."""
        return {"OMP_NUM_THREADS": str(self.threads), "OMP_WAIT_POLICY": "PASSIVE"}

    def fit(self, resources: Mapping[str, float]) -> int:
        """How many workers a node has room for.

        >>> WorkerShape(cpus=2, gpus=0, threads=2).fit({"CPU": 5.0})
        2
        >>> WorkerShape(cpus=1, gpus=1, threads=2).fit({"CPU": 64.0, "GPU": 8.0})
        8
        """
        by_cpu = int(resources.get("CPU", 0) // self.cpus)
        return min(by_cpu, int(resources.get("GPU", 0) // self.gpus)) if self.gpus else by_cpu


@dataclass(slots=True)
class _Try(Generic[T]):
    shard: Shard[T]
    deaths: int = 0


class Pool(Generic[T]):
    """The shards that are left, and the workers that do them.

    work: its reference in Ray. spare: workers of earlier work, which are taken first, since to
    start one takes seconds; those that are left in the end are put there.
    """

    def __init__(
        self,
        work: Any,
        shards: list[Shard[T]],
        shape: WorkerShape,
        surroundings: Surroundings,
        spare: list[Any],
    ) -> None:
        self._work, self._shape, self._surroundings = work, shape, surroundings
        self._spare = spare
        self._waiting = deque(map(_Try, shards))
        self._opening: dict[Any, Any] = {}  # what is awaited -> the worker
        self._busy: dict[Any, tuple[Any, _Try[T]]] = {}
        self._idle: list[Any] = []
        self._deaths_in_a_row = 0
        self._last_sign = time.monotonic()

    def run(self) -> Iterator[tuple[Shard[T], Any]]:
        """Every shard once, with what was made of it, as it comes.

        Raises what the work raises, and GlossError where workers die again and again, or none can
        be had for a minute.
        """
        try:
            while self._waiting or self._busy:
                self._hire()
                self._hand_out()
                for done in self._ended():
                    yield from self._taken(done)
                self._require_a_sign()
        finally:
            self._dismiss()

    def _hire(self) -> None:
        """Workers for what there is to do, as many as the cluster has room for now."""
        import ray

        room = sum(self._shape.fit(node["Resources"]) for node in ray.nodes() if node["Alive"])
        wanted = min(room, len(self._waiting) + len(self._busy))
        for _ in range(wanted - len(self._opening) - len(self._busy) - len(self._idle)):
            worker = self._spare.pop() if self._spare else self._started()
            self._opening[worker.open.remote(self._work, self._surroundings)] = worker

    def _started(self) -> Any:
        import ray

        options = {
            "num_cpus": self._shape.cpus,
            "num_gpus": self._shape.gpus,
            "max_restarts": 0,
            "max_task_retries": 0,
            "scheduling_strategy": "SPREAD",
            "runtime_env": {"env_vars": self._shape.environment},
        }
        return ray.remote(**options)(Worker).remote()

    def _hand_out(self) -> None:
        while self._idle and self._waiting:
            worker, attempt = self._idle.pop(), self._waiting.popleft()
            self._busy[worker.do.remote(attempt.shard.content)] = worker, attempt

    def _ended(self) -> list[Any]:
        """References that have a result or an error; after a second, none."""
        import ray

        awaited = [*self._opening, *self._busy]
        if not awaited:
            time.sleep(_LOOK_SECONDS)
            return []
        ended, _ = ray.wait(awaited, num_returns=1, timeout=_LOOK_SECONDS)
        return list(ended)

    def _taken(self, ended: Any) -> Iterator[tuple[Shard[T], Any]]:
        """What a worker has made; nothing where it has only begun, or died."""
        import ray

        worker = self._opening.pop(ended, None)
        attempt = None
        if worker is None:
            worker, attempt = self._busy.pop(ended)
        try:
            made = ray.get(ended)
        except ray.exceptions.RayTaskError as error:
            raise (error.cause or error) from None
        except ray.exceptions.RayError as death:
            self._bury(worker, attempt, death)
            return
        self._deaths_in_a_row, self._last_sign = 0, time.monotonic()
        self._idle.append(worker)
        if attempt is not None:
            yield attempt.shard, made

    def _bury(self, worker: Any, attempt: _Try[T] | None, death: Exception) -> None:
        """Let another worker do the shard. Raises GlossError after too many deaths."""
        import ray

        ray.kill(worker)  # it may live where nobody reaches it
        self._deaths_in_a_row += 1
        said = on_one_line(str(death))
        over = "while it started"
        if attempt is not None:
            attempt.deaths += 1
            over = f"over shard {attempt.shard.number}"
            self._waiting.appendleft(attempt)
        if max(self._deaths_in_a_row, attempt.deaths if attempt else 0) >= _MAX_TRIES:
            raise GlossError(
                f"{_MAX_TRIES} workers of the cluster have died, the last one {over} ({said}); "
                "what is finished is kept: find the cause in Ray's logs, and repeat the command"
            )
        _log.warning("a worker has died %s; another one does its work: %s", over, said)

    def _require_a_sign(self) -> None:
        """Raise GlossError when there has been no worker for a minute."""
        if self._busy or self._idle:
            self._last_sign = time.monotonic()
        elif time.monotonic() - self._last_sign > _PATIENCE_SECONDS:
            needed = f"{self._shape.cpus:g} CPUs" + (" and a GPU" if self._shape.gpus else "")
            raise GlossError(
                f"no node of the cluster has had {needed} free for {_PATIENCE_SECONDS:.0f} seconds;"
                " what is finished is kept: repeat the command when there is one"
            )

    def _dismiss(self) -> None:
        import ray

        self._spare += self._idle
        for worker in (*self._opening.values(), *(worker for worker, _ in self._busy.values())):
            ray.kill(worker)
