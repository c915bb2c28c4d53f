"""`gloss` in real processes that tests may kill, starve or give bad disks.

A server process imports everything once; each call is a fork of it, so it costs no import. Run as
a script this file is the server: it reads calls from standard input, one JSON object a line. The
server itself must start no threads: a fork has none of them.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Timer
from typing import Any

# Idle threads that spin for work would fight for the cores; here the work is tiny.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
UNWANTED = {
    *("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn"),
    *("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"),
    "pickle.find_class",
}
"""What no reading needs: processes, connections, objects out of pickles."""

WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}


TINY = (
    "name: tiny\n"
    "data: {source: shop, users: 60}\n"
    "model: {vocabulary: 400, layers: 1, width: 32, heads: 2, context: 256}\n"
    "training: {epochs: 1, batch_tokens: 2048, warmup_steps: 2, validation_users: 10}\n"
    "decoding: {beams: 4, shard_users: 8}\n"
)
"""A whole experiment that takes a second."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended. code: the exit code; None if a signal ended it; signal: which one;
    hung: whether it was over its limit and was killed for that."""

    code: int | None
    stdout: str
    stderr: str
    seconds: float
    signal: int = 0
    hung: bool = False


class Processes:
    """Starts calls of `gloss`, one at a time."""

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self.server, self.folder = server, folder

    @classmethod
    @contextmanager
    def started(
        cls, folder: Path, *modules: str, preload: Path | None = None
    ) -> Iterator[Processes]:
        """The server, until the block ends. modules: what it imports besides the usual. preload: a
        library whose functions come before those of the system (campaign/faults.c)."""
        command = [sys.executable, "-W", "ignore", __file__, *modules]
        environment = ENVIRONMENT | ({"LD_PRELOAD": str(preload)} if preload else {})
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as server:
            yield cls(server, folder)
            assert server.stdin is not None
            server.stdin.close()

    def gloss(
        self,
        *arguments: object,
        kill_after: float | None = None,
        kill_at_write: int | None = None,
        largest_file: int | None = None,
        fault: tuple[int, int] | None = None,
        limit: float | None = None,
        where: Path | None = None,
        watched: bool = False,
    ) -> Ended:
        """Run `gloss` with these arguments.

        kill_after: SIGKILL after so many seconds. kill_at_write: SIGKILL just before the n-th
        change to the file system that Python makes. largest_file: bytes that a file may hold.
        fault: the number of a fault of the preloaded library, and before which call it comes.
        limit: seconds after which the process counts as hung. where: the folder to work in.
        watched: a line on standard error (`watched: …`) says what it does of `UNWANTED`, and whose
        code it runs that is not installed.
        """
        call = {
            "where": str(where) if where else None,
            "arguments": [*map(str, arguments)],
            "kill_at_write": kill_at_write,
            "largest_file": largest_file,
            "fault": fault,
            "watched": watched,
        }
        return self._run(call, kill_after=kill_after, limit=limit)

    def call(
        self, function: str, *arguments: str | int | None, limit: float | None = None
    ) -> Ended:
        """Run a function ("module:name") that tests can import, watched; its GlossErrors are
        printed as `gloss` prints them, and all others end with the code 99."""
        call = {"function": function, "arguments": arguments, "watched": True}
        return self._run(call, limit=limit)

    def start(self, *arguments: object) -> int:
        """Begin a call, as in `gloss`; its process. `wait` comes next."""
        return self._begin({"arguments": [*map(str, arguments)]})

    def wait(self) -> tuple[int, str, str]:
        """The end of the call that was begun: its status, as of `os.wait`, and what it wrote."""
        status = int(self._say("wait"))
        out, err = self._outputs()
        return status, out.read_text("utf-8", "replace"), err.read_text("utf-8", "replace")

    def _run(
        self,
        call: dict[str, Any],
        *,
        kill_after: float | None = None,
        limit: float | None = None,
    ) -> Ended:
        started = time.monotonic()
        process = self._begin(call)
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(process, signal.SIGKILL)
        hung: list[bool] = []
        timer = Timer(limit or 0, _end_as_hung, (process, hung))
        if limit is not None:
            timer.start()
        status, out, err = self.wait()
        timer.cancel()
        died = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = None if died else os.waitstatus_to_exitcode(status)
        return Ended(code, out, err, time.monotonic() - started, died, bool(hung))

    def _begin(self, call: dict[str, Any]) -> int:
        out, err = self._outputs()
        return int(self._say({**call, "stdout": str(out), "stderr": str(err)}))

    def _outputs(self) -> tuple[Path, Path]:
        return self.folder / "stdout", self.folder / "stderr"

    def _say(self, message: Any) -> str:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(message) + "\n")
        self.server.stdin.flush()
        return self.server.stdout.readline()


def _end_as_hung(process: int, hung: list[bool]) -> None:
    with suppress(ProcessLookupError):  # it has just ended
        os.kill(process, signal.SIGKILL)
        hung.append(True)


def visible_bytes(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, drafts and temporary files left out."""
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    hidden = {name for name in files if any(part.startswith(".") for part in name.parts)}
    return {str(name): files[name].read_bytes() for name in sorted(files.keys() - hidden)}


def kill_until_done(
    processes: Processes, *arguments: object, rng: random.Random, writes: int
) -> int:
    """Kill a call again and again, each time before one of its next `writes` changes to the file
    system, until it ends well; returns how often it was killed."""
    for kills in range(1000):
        ended = processes.gloss(*arguments, kill_at_write=rng.randint(1, writes))
        if ended.code is not None:
            assert ended.code == 0, ended.stderr
            return kills
    raise AssertionError("it never ends")


def _serve() -> None:
    import matplotlib.figure  # noqa: F401

    import gloss.cli.main
    import gloss.cli.output
    import gloss.decoding.open
    import gloss.experiment.pipeline
    import gloss.language.lora.finetune
    import gloss.language.scratch.train
    import gloss.recommender.recommender
    import gloss.report.page  # noqa: F401

    for module in sys.argv[1:]:
        import_module(module)
    while line := sys.stdin.readline():
        call = json.loads(line)
        process = os.fork()
        if not process:
            _be(call)
        print(process, flush=True)
        sys.stdin.readline()
        print(os.waitpid(process, 0)[1], flush=True)
    os._exit(0)  # to take all modules apart takes seconds, and nothing is left to be done


def _be(call: dict[str, Any]) -> None:
    """Become the call: this process ends with it."""
    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(call[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    if call.get("where"):
        os.chdir(call["where"])
    if call.get("largest_file"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (call["largest_file"],) * 2)
    if call.get("kill_at_write"):
        sys.addaudithook(killer(call["kill_at_write"]))
    if call.get("watched"):
        sys.addaudithook(witness())
    if call.get("fault"):
        ctypes.CDLL(None).gloss_fault(*call["fault"])
    code = 0
    try:
        if "function" in call:
            _call_function(call["function"], call["arguments"])
        sys.argv = ["gloss", *call["arguments"]]
        sys.modules["gloss.cli.main"].main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 99
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _call_function(name: str, arguments: Sequence[str | int | None]) -> None:
    from gloss.errors import GlossError, on_one_line

    module, _, function = name.partition(":")
    try:
        getattr(import_module(module), function)(*arguments)
    except GlossError as error:
        print(f"error: {on_one_line(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    sys.exit(0)


def witness() -> Any:
    """An audit hook that says what this process does of `UNWANTED`, and which files' code it runs
    that are not installed."""
    installed = {str(Path(folder).resolve()) for folder in (*sys.path, sys.base_prefix)}

    def is_foreign(file: str) -> bool:
        whole = os.path.realpath(file)
        return not file.startswith("<") and not any(whole.startswith(each) for each in installed)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in UNWANTED and not (event.startswith("pickle") and _is_numbas(arguments)):
            said = f"{event} {arguments!r:.200}"
        elif event == "exec" and is_foreign(arguments[0].co_filename):
            said = f"exec {arguments[0].co_filename}"
        else:
            return
        os.write(2, f"watched: {said}\n".encode())

    return hook


def _is_numbas(arguments: tuple[Any, ...]) -> bool:
    """numba keeps what it compiles as pickles, in a cache that nobody hands out."""
    return str(arguments[0]).partition(".")[0] == "numba"


def killer(moment: int) -> Any:
    """An audit hook that kills this process before its n-th change of the file system."""
    left = moment

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes or event in WRITES:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook


if __name__ == "__main__":
    _serve()
