"""A bundle that is served from a process of its own, so that requests are read, and refused in
time, while the model computes: threads of one process would share one interpreter.

The process has all cores but one, which is for the requests. It ends with the service, or when
nobody has its recommenders any more; if it dies, whoever asks it gets a StoppedError.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Literal
from weakref import finalize

from gloss.data.catalogue import Catalogue, Item, ItemId
from gloss.errors import GlossError
from gloss.recommender.recommender import Recommendations
from gloss.recommender.rules import Rules
from gloss.retrieval.retriever import Hit
from gloss.serving.messages import Call, Dropped, Failed, Opened, Written
from gloss.serving.served import OnTitle
from gloss.serving.waiting import StoppedError

__all__ = ["ServedProcess"]

_MAIN = "gloss.serving.model_process_main"

_THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS")
"""Where libraries read how many threads they may have; what is set already stays."""


class ServedProcess:
    """A recommender in another process; made with `open`, then as any `Served`."""

    def __init__(self, link: _Link, opened: Opened, catalogue: Catalogue) -> None:
        self._link, self._opened = link, opened
        self.catalogue = catalogue
        finalize(self, link.drop, opened.served)

    @classmethod
    def open(cls, path: Path) -> ServedProcess:
        """The recommender of a bundle. Raises what `Recommender.open` raises, and GlossError when
        the process dies of it."""
        link = _Link(_started)
        try:
            opened: Opened = link.call("open", 0, (path,))
        except StoppedError:
            raise GlossError(f"{path}: the process that was to open it has died") from None
        assert opened.catalogue is not None
        return cls(link, opened, opened.catalogue)

    @property
    def process(self) -> int:
        """The number that the system gave the process."""
        return self._link.process

    @property
    def fingerprint(self) -> str:
        return self._opened.fingerprint

    @property
    def has_diversity(self) -> bool:
        return self._opened.has_diversity

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        *,
        rules: Rules,
        wish: str | None,
        on_title: OnTitle | None = None,
    ) -> list[Recommendations]:
        arguments = list(histories), k, rules, wish
        made: list[Recommendations] = self._call("recommend", arguments, on_title)
        return made

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        found: list[tuple[Hit, ...]] = self._call("search", (list(texts), k))
        return found

    def changed(self, edited: Sequence[Item], off: Collection[ItemId]) -> ServedProcess:
        opened: Opened = self._call("changed", (list(edited), frozenset(off)))
        catalogue = self.catalogue if opened.catalogue is None else opened.catalogue
        return ServedProcess(self._link, opened, catalogue)

    def _call(
        self,
        method: Literal["recommend", "search", "changed"],
        arguments: tuple[Any, ...],
        on_title: OnTitle | None = None,
    ) -> Any:
        return self._link.call(method, self._opened.served, arguments, on_title)


@dataclass(frozen=True, slots=True)
class _Pending:
    """A call that has no answer yet."""

    on_title: OnTitle | None
    future: Future[Any] = field(default_factory=Future)


class _Link:
    """Calls to a process, from any thread. start: starts it at the other end of a socket.

    What is sent goes through a queue: `drop` is called wherever the last reference to a recommender
    goes, be it in the middle of another message.
    """

    def __init__(self, start: Callable[[socket.socket], subprocess.Popen[bytes]]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = start(theirs)
        self._connection = Connection(ours.detach())
        self._numbers = count(1)
        self._pending: dict[int, _Pending] = {}
        self._has_ended = False
        self._lock = Lock()
        self._out: SimpleQueue[bytes | None] = SimpleQueue()  # None: the process has ended
        for work in (self._read, self._write):
            Thread(target=work, name=f"gloss-model-{work.__name__}", daemon=True).start()

    @property
    def process(self) -> int:
        return self._process.pid

    def call(
        self,
        method: Literal["open", "recommend", "search", "changed"],
        served: int,
        arguments: tuple[Any, ...],
        on_title: OnTitle | None = None,
    ) -> Any:
        """What the method returns there. Raises what it raises, and StoppedError."""
        number, pending = next(self._numbers), _Pending(on_title)
        message = pickle.dumps(Call(number, method, served, arguments, tells=on_title is not None))
        with self._lock:
            if self._has_ended:
                raise _ended()
            self._pending[number] = pending
        self._out.put(message)
        return pending.future.result()

    def drop(self, served: int) -> None:
        """Let the process forget a recommender."""
        self._out.put(pickle.dumps(Dropped(served)))

    def _write(self) -> None:
        while (message := self._out.get()) is not None:
            try:
                self._connection.send_bytes(message)
            except OSError:  # it has ended, which `_read` says
                return

    def _read(self) -> None:
        try:
            while True:
                self._take(self._connection.recv())
        except (EOFError, OSError):
            self._end()

    def _take(self, message: Any) -> None:
        if isinstance(message, Written):
            on_title = self._pending[message.number].on_title
            assert on_title is not None
            on_title(message.history, message.title)
            return
        with self._lock:
            future = self._pending.pop(message.number).future
        if isinstance(message, Failed):
            future.set_exception(message.error)
        else:
            future.set_result(message.value)

    def _end(self) -> None:
        """Tell those who wait that no answer comes."""
        with self._lock:
            self._has_ended = True
            left = list(self._pending.values())
            self._pending.clear()
        for pending in left:
            pending.future.set_exception(_ended())
        self._out.put(None)
        self._process.wait()


def _ended() -> StoppedError:
    return StoppedError("the model's process has ended")


def _started(end: socket.socket) -> subprocess.Popen[bytes]:
    """The process, in a group of its own: Ctrl-C in a terminal is for the service alone."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", _MAIN, str(end.fileno())],
        pass_fds=(end.fileno(),),
        stdin=subprocess.DEVNULL,
        env=dict.fromkeys(_THREADS, str(_threads())) | os.environ,
        process_group=0,
    )


def _threads() -> int:
    """All cores that this process may use but one."""
    return max(1, len(os.sched_getaffinity(0)) - 1)
