"""The process behind the `gloss` command: how it starts, how it fails and how it is stopped.

Little is imported here: the application, which takes longer, is imported when signals are already
handled.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import NoReturn

from gloss.errors import GlossError, is_out_of_memory, on_one_line, reason_of
from gloss.training.processes import (
    SECONDS_TO_BE_ENDED,
    is_first_process,
    leave_processes,
    process_count,
)

__all__ = ["end_waits_on_interrupt", "main"]

_ADDRESS_SPACE = 3_000_000_000
"""Bytes. The smallest run ends well with 3.07e9, and dies or hangs in a library below 2.5e9."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stopped(BaseException):
    """A signal has arrived. No Exception, so that no library takes it for an error of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main() -> None:
    """Run the command line.

    Exit code 2: a wrong call; 1: a failure; 128 + N: stopped by signal N, as shells count.
    """
    # Threads that wait for each other must sleep, not spin: beside one other busy process, spinning
    # made training on two cores twenty times slower. OpenMP reads this when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # What a command makes lives until its end: looking through millions of small objects for dead
    # cycles again and again took a third of the time of a ranking.
    gc.set_threshold(200_000, 20, 100)
    if not is_first_process():
        sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        _handle_signals()
        _log_on_one_line()
        _require_address_space()
        code = _call(arguments)
        leave_processes()
    except _Stopped as stopped:
        if process_count() > 1:
            os._exit(128 + stopped.number)  # whoever started and stopped them all says why
        _complain(f"stopped by {signal.Signals(stopped.number).name}")
        code = 128 + stopped.number
    except BrokenPipeError:
        # Whoever read our output has closed it; nothing is left to say, nor anybody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except BaseException as error:
        message = None if debug else _explanation(error)
        if process_count() > 1:
            _fail_among_others(error, message)
        if message is None:
            raise
        _complain(message)
        code = error.exit_code if isinstance(error, GlossError) else 1
    finally:
        _leave_signals()
    sys.exit(code)


def _call(arguments: list[str]) -> int:
    """Run one command; its exit code."""
    from typer.exceptions import Abort, TyperException

    from gloss.cli.app import app
    from gloss.cli.options import with_ray_address

    try:
        return app(with_ray_address(arguments), prog_name="gloss", standalone_mode=False) or 0
    except Abort:
        _complain("aborted")
        return 1
    except TyperException as error:
        if message := error.format_message():  # without one, the help was asked for and is printed
            if context := getattr(error, "ctx", None):
                print(context.get_usage(), file=sys.stderr)
            _complain(message)
        return error.exit_code


def _fail_among_others(error: BaseException, message: str | None) -> NoReturn:
    """End one of several processes at once, so that the launcher ends the others, which wait.

    An error that all have is the first one's to tell: the others are ended before they speak.
    """
    if not is_first_process():
        _leave_signals()
        time.sleep(SECONDS_TO_BE_ENDED)
    sys.stderr = sys.__stderr__ or sys.stderr
    if message is None:
        traceback.print_exception(error)
    else:
        _complain(message)
    sys.stderr.flush()
    os._exit(error.exit_code if isinstance(error, GlossError) else 1)


def _explanation(error: BaseException) -> str | None:
    """What went wrong, for the reader; None for what only a developer can read."""
    if isinstance(error, GlossError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    if is_out_of_memory(error):
        return "the memory is used up: free some, raise its limit, or use smaller settings"
    if isinstance(error, ImportError):
        return f"a library cannot be loaded: {reason_of(error)}"
    return None


def _complain(message: str) -> None:
    print(f"error: {on_one_line(message)}", file=sys.stderr)


class _OneLine(logging.Formatter):
    """Records as errors are printed: what is logged, too, names paths and ids of others."""

    def format(self, record: logging.LogRecord) -> str:
        return on_one_line(super().format(record))


def _log_on_one_line() -> None:
    """What nobody has set a handler for goes to standard error as ever, but on one line each."""
    if logging.lastResort:
        logging.lastResort.setFormatter(_OneLine())


def _require_address_space() -> None:
    """Raise GlossError where native libraries would not find room to begin.

    They reserve far more than they use. Where they may not, they abort, or (the allocator of
    polars) wait for ever while they write one line again and again; nothing can be said then.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _ADDRESS_SPACE:
        raise GlossError(
            f"this process may reserve {limit / 1e9:.1f} GB of address space (ulimit -v), and the "
            f"libraries that it uses need {_ADDRESS_SPACE / 1e9:.0f} GB to begin with: raise it"
        )


def _handle_signals() -> None:
    """Let signals end the work as an exception, so that files and the terminal are left in order.

    A signal that is ignored stays ignored (nohup), and a second one ends the process at once.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        _leave_signals()
        raise _Stopped(number)

    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)


def end_waits_on_interrupt() -> None:
    """Let Ctrl-C end a wait for a file or pipe at once: to be called when polars is imported.

    polars handles SIGINT too, from its import on, so that it can stop a query. It has the system
    go on with whatever waits, and Python learns of the signal only when the wait is over.
    """
    signal.siginterrupt(signal.SIGINT, True)


def _leave_signals() -> None:
    """From here on a signal ends the process without a word."""
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
