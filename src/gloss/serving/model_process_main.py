"""The process of a model: opens a bundle and answers calls until the service has gone.

    python -m gloss.serving.model_process_main FILE_DESCRIPTOR

Started by model_process.py. Lists are made by one thread, in the order in which they were asked
for; searches and changes of the catalogue, which may take long, do not hold them up.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any

from gloss.data.catalogue import Catalogue, Item, ItemId
from gloss.errors import GlossError, UsageError
from gloss.recommender.rules import Rules
from gloss.serving.messages import Call, Done, Dropped, Failed, Opened, Written
from gloss.serving.served import OnTitle, Served, ServedBundle

__all__ = ["main"]

_OTHERS = 4
"""Threads for what is no list."""


class _Model:
    """The recommenders of this process, by number, and the calls to them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = Lock()
        self._numbers = count(1)
        self._served: dict[int, Served] = {}
        self._lists = ThreadPoolExecutor(1, "gloss-lists")
        self._others = ThreadPoolExecutor(_OTHERS, "gloss-others")

    def work(self) -> None:
        """Take messages until there is nothing left to serve, or nobody to serve."""
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                return
            if isinstance(message, Dropped):
                self._served.pop(message.served, None)
                if not self._served:
                    return
            else:
                pool = self._lists if message.method == "recommend" else self._others
                pool.submit(self._answer, message, self._served.get(message.served))

    def _answer(self, call: Call, served: Served | None) -> None:
        try:
            answer: Done | Failed = Done(call.number, self._value(call, served))
        except Exception as error:
            answer = Failed(call.number, _portable(error))
        self._send(answer)
        if not self._served:  # it could not be opened
            os._exit(1)

    def _value(self, call: Call, served: Served | None) -> Any:
        if served is None:
            return self._opened(ServedBundle.open(*call.arguments), None)
        if call.method == "changed":
            return self._opened(_changed(served, *call.arguments), served.catalogue)
        if call.method == "search":
            return served.search(*call.arguments)
        return _recommended(served, self._teller(call), *call.arguments)

    def _opened(self, served: Served, known: Catalogue | None) -> Opened:
        number = next(self._numbers)
        self._served[number] = served
        catalogue = None if served.catalogue is known else served.catalogue
        return Opened(number, served.fingerprint, served.has_diversity, catalogue)

    def _teller(self, call: Call) -> OnTitle | None:
        if not call.tells:
            return None
        return lambda history, title: self._send(Written(call.number, history, title))

    def _send(self, message: Written | Done | Failed) -> None:
        with self._sending:
            self._connection.send(message)


def _changed(served: Served, edited: Sequence[Item], off: frozenset[ItemId]) -> Served:
    return served.changed(tuple(edited), off)


def _recommended(
    served: Served,
    on_title: OnTitle | None,
    histories: Sequence[Sequence[str]],
    k: int,
    rules: Rules,
    wish: str | None,
) -> Any:
    return served.recommend(histories, k, rules=rules, wish=wish, on_title=on_title)


def _portable(error: Exception) -> Exception:
    """The error, or one of the nearest kind with its text where it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        kinds = (UsageError, GlossError, RuntimeError)
        kind = next((kind for kind in kinds if isinstance(error, kind)), RuntimeError)
        return kind(str(error) if isinstance(error, kind) else repr(error))
    return error


def main() -> None:
    """Serve at the end of a socket that was handed down; the first argument is its number.

    Signals that end the service are not for this process: who was accepted is still answered.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.set_threshold(200_000, 20, 100)  # see gloss/cli/main.py
    _Model(Connection(int(sys.argv[1]))).work()
    os._exit(0)  # what is still computed is for nobody


if __name__ == "__main__":
    main()
